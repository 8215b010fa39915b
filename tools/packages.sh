# shellcheck shell=sh
# What comes from apt, by purpose, and how it gets here. The names are the same on Debian 12 and Ubuntu 24.04.
# shellcheck disable=SC2034  # the lists are for the scripts that source this file

PYTHON_PACKAGES="ca-certificates python3 python3-pip"
BUILD_PACKAGES="g++ cmake ninja-build libgrpc++-dev libgrpc-dev protobuf-compiler protobuf-compiler-grpc libprotobuf-dev
  libabsl-dev libspdlog-dev libgtest-dev libgmock-dev libre2-dev libcli11-dev
  nlohmann-json3-dev libtomlplusplus-dev liblzma-dev libpng-dev $PYTHON_PACKAGES"
FORMAT_PACKAGES="clang-format-19"
LINT_PACKAGES="$FORMAT_PACKAGES clang-tidy-19 shellcheck git"
FUZZ_PACKAGES="clang-19 libclang-rt-19-dev"
NODE_PACKAGES="nodejs npm"
IMAGE_PACKAGES="buildah mmdebstrap"

# Those of the packages $1 that are not installed, one a line.
missing_packages() {
  for package in $1; do
    dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || echo "$package"
  done
}

# ensure_packages PURPOSE LIST: installs what is missing of the list.
ensure_packages() {
  if ! have apt-get; then
    say "no apt here: $1 needs what Debian calls: $(echo "$2" | tr -s ' \n' ' ')"
    return
  fi
  missing=$(missing_packages "$2" | tr '\n' ' ')
  [ -n "$missing" ] || return 0
  say "installing for $1: $missing"
  as_root apt-get update -qq
  # shellcheck disable=SC2086  # a list of words
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

# ensure_python PURPOSE: python3 with pip, from apt unless there already.
ensure_python() {
  python3 -m pip --version >/dev/null 2>&1 || ensure_packages "$1" "$PYTHON_PACKAGES"
}

# ensure_ecosystem: the libraries of tests/ecosystem, from PyPI into the virtual environment $peers.
ensure_ecosystem() {
  peers=.deps/peers
  pins=tests/ecosystem/requirements.txt
  cmp -s "$pins" "$peers/installed-ecosystem" && return 0
  ensure_packages "the ecosystem's tests" "$PYTHON_PACKAGES python3-venv"
  say "fetching torch and others from PyPI into $peers (some gigabytes)"
  python3 -m venv "$peers"
  "$peers/bin/pip" install --quiet --disable-pip-version-check -r "$pins"
  cp "$pins" "$peers/installed-ecosystem"
}
