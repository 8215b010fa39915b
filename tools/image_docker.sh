#!/bin/sh
# tools/image.sh by way of docker.
set -eu
cd "$(dirname "$0")/.."
. tools/common.sh
image=localhost/quantd:dev

docker build -t "$image" --build-arg REVISION="$(git rev-parse HEAD 2>/dev/null || echo unknown)" .
say "trying $image: read-only, no capabilities"
container=$(docker run -d --read-only --tmpfs /tmp --cap-drop all --security-opt no-new-privileges "$image")
trap 'docker rm -f "$container" >/dev/null' EXIT
tries=0
until docker exec "$container" quantctl info --address localhost:50051; do
  tries=$((tries + 1))
  [ $tries -lt 20 ] || fail "the container does not answer: $(docker logs "$container" 2>&1 | tail -5)"
  sleep 0.5
done
docker stop --time 10 "$container" >/dev/null
code=$(docker wait "$container")
[ "$code" -eq 0 ] || fail "SIGTERM as PID 1 ended with $code, not 0"
say "$image serves, and ended with 0 on SIGTERM"
