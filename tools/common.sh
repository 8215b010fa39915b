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

# Where the output of `cmake --preset PRESET` goes.
configure_log() {
  mkdir -p build
  echo "build/configure-$1.log"
}
