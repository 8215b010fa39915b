#!/bin/sh
# fresh_debian.sh [COMMAND...]: runs ./run COMMAND, one after another, for the last commit in a bare Debian 12 with nothing prepared,
# and says how long each took. Default: demo test. COMMAND may also be .ci/run. Needs root and mmdebstrap.
#
#   QUANTD_ROOTFS=FILE.tar   another bare root file system, for example of an Ubuntu 24.04
#   QUANTD_CA=FILE.crt       certificates of a private network, for pip and npm inside
set -eu
cd "$(dirname "$0")/.."
. tools/common.sh
. tools/packages.sh
[ "$(id -u)" -eq 0 ] || fail "chroot and mounts need root"
[ $# -gt 0 ] || set -- demo test

root=$(mktemp -d)
trap 'rm -rf --one-file-system "$root"' EXIT

unpack_root() {
  if [ -n "${QUANTD_ROOTFS:-}" ]; then
    tar -C "$root" --exclude='./dev/*' -xf "$QUANTD_ROOTFS"
  else
    ensure_packages "a bare Debian" mmdebstrap
    say "making a bare Debian 12"
    mmdebstrap --variant=minbase --quiet bookworm "$root"
  fi
  git clone --quiet --no-hardlinks . "$root/quantd"
  cp /etc/resolv.conf "$root/etc/resolv.conf"
  # Every machine and container has one; only a bare root has not.
  printf '127.0.0.1 localhost\n::1 localhost\n' >"$root/etc/hosts"
  [ -z "${QUANTD_CA:-}" ] || cp "$QUANTD_CA" "$root/quantd.crt"
}

# In a mount namespace of its own, so that nothing stays mounted.
inside() {
  # shellcheck disable=SC2016  # the inner shell expands them
  unshare --mount --propagation private sh -euc '
    root=$1
    shift
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    set -- env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
    exec chroot "$root" "$@"' sh "$root" ${QUANTD_CA:+PIP_CERT=/quantd.crt NODE_EXTRA_CA_CERTS=/quantd.crt} "$@"
}

unpack_root
for command in "$@"; do
  [ "$command" = .ci/run ] || command="./run $command"
  say "bare root: $command"
  begin=$(date +%s)
  # shellcheck disable=SC2086  # a command and its argument
  inside sh -c 'cd /quantd && exec "$@"' sh $command || fail "$command failed"
  say "bare root: $command took $(($(date +%s) - begin)) s"
done
say "processor time, own and of the commands (user, system):"
times
