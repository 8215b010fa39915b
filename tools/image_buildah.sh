#!/bin/sh
# tools/image.sh by way of buildah, in a store of its own (.deps/containers) and with chroot isolation, so that it works inside
# containers too. The base is $QUANTD_IMAGE_BASE, or a Debian 12 that mmdebstrap makes from the package mirror.
# $QUANTD_BUILDAH_FLAGS goes to `buildah build`, for example --volume of a private network's certificates.
set -eu
cd "$(dirname "$0")/.."
. tools/common.sh
. tools/packages.sh
image=localhost/quantd:dev
base=${QUANTD_IMAGE_BASE:-localhost/debian:12}
store=$PWD/.deps/containers

store_buildah() {
  as_root buildah --root "$store/root" --runroot "$store/runroot" --storage-driver vfs "$@"
}

make_base() {
  store_buildah images "$base" >/dev/null 2>&1 && return 0
  say "making the base image $base with mmdebstrap"
  as_root mmdebstrap --variant=minbase --quiet --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-include=/usr/share/doc/*/copyright' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/man/*' bookworm "$store/base.tar"
  container=$(store_buildah from scratch)
  store_buildah add -q "$container" "$store/base.tar" / >/dev/null
  store_buildah config --cmd /bin/sh "$container"
  store_buildah commit -q --rm "$container" "$base" >/dev/null
  as_root rm "$store/base.tar"
}

build_image() {
  say "building $image"
  # shellcheck disable=SC2086  # a list of flags
  store_buildah build --isolation chroot --build-arg BASE="$base" ${QUANTD_BUILDAH_FLAGS:-} \
    --build-arg REVISION="$(git rev-parse HEAD 2>/dev/null || echo unknown)" -t "$image" .
  store_buildah images "$image"
}

# Runs the image as an engine would: own PID namespace, read-only root, its user; the network is the host's.
start_container() {
  # shellcheck disable=SC2016  # the inner shell expands them
  as_root unshare --mount sh -euc '
    mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && mount -t tmpfs tmpfs "$1/tmp"
    exec unshare --pid --fork --root="$1" --setgid="$3" --setuid="$2" /usr/local/bin/quantd --listen=127.0.0.1:0' \
    sh "$root" "${user%:*}" "${user#*:}" >"$store/output" 2>"$log" &
  runner=$!
  trap '[ ! -d "/proc/$runner" ] || as_root kill -KILL "$(last_descendant "$runner")"' EXIT
}

try_image() {
  log=$store/quantd.log
  container=$(store_buildah from "$image")
  user=$(store_buildah inspect --format '{{.OCIv1.Config.User}}' "$container")
  entrypoint=$(store_buildah inspect --format '{{.OCIv1.Config.Entrypoint}}' "$container")
  [ "$entrypoint" = "[/usr/local/bin/quantd]" ] || fail "the entrypoint is $entrypoint"
  root=$(store_buildah mount "$container")
  say "trying $image: read-only, as uid $user, as PID 1"
  start_container
  address=$(listening_address "$store/output" "$log" "$runner")
  as_root chroot "$root" /usr/local/bin/quantctl info --address "$address"
  as_root kill -TERM "$(last_descendant "$runner")"
  code=0
  wait "$runner" || code=$?
  cat "$log"
  [ $code -eq 0 ] || fail "SIGTERM as PID 1 ended with $code, not 0"
  store_buildah umount "$container" >/dev/null
  store_buildah rm "$container" >/dev/null
  say "$image serves, and ended with 0 on SIGTERM"
}

ensure_packages "building the image" "$IMAGE_PACKAGES"
mkdir -p "$store"
make_base
build_image
try_image
