# shellcheck shell=sh
# Words that the scripts share. Sourced from the repository's root.

say() { printf '==> %s\n' "$*"; }

fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif have sudo; then
    sudo "$@"
  else
    fail "need root for: $* (run as root, or install sudo)"
  fi
}

# configure PRESET: cmake's long answer is shown only if it fails.
configure() {
  mkdir -p build
  cmake --preset "$1" >"build/configure-$1.log" 2>&1 || fail "cmake --preset $1 failed: $(cat "build/configure-$1.log")"
}

# listening_address OUTPUT LOG PID: where a starting quantd listens, from the file of its standard output; fails if it ends first.
listening_address() {
  tries=0
  until address=$(sed -n '/ admin /d; s/.* listening on //p' "$1" | head -n 1) && [ -n "$address" ]; do
    [ -d "/proc/$3" ] || fail "quantd ended at once: $(cat "$2")"
    tries=$((tries + 1))
    [ $tries -lt 100 ] || fail "quantd does not listen after 10 s: $(cat "$2")"
    sleep 0.1
  done
  echo "$address"
}

# The last process of the chain that begins at the process $1: what sudo and unshare were asked to run.
last_descendant() {
  process=$1
  while process_child=$(cut -d ' ' -f 1 "/proc/$process/task/$process/children") && [ -n "$process_child" ]; do
    process=$process_child
  done
  echo "$process"
}
