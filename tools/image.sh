#!/bin/sh
# Builds the container image localhost/quantd:dev and tries it: it must serve, and as PID 1 end with 0 on SIGTERM.
# With docker where its daemon answers, else with buildah, which needs neither daemon nor registry.
set -eu
cd "$(dirname "$0")/.."
. tools/common.sh

if have docker && docker info >/dev/null 2>&1; then
  exec tools/image_docker.sh
fi
say "no docker daemon: using buildah"
exec tools/image_buildah.sh
