#!/bin/sh
# Times the libraries' own CPU code beside our kernels: tests/benchmark/peers.py, in a virtual environment of its own.
set -eu
cd "$(dirname "$0")/.."
. tools/common.sh
. tools/packages.sh

peers=.deps/peers
pins=tests/benchmark/peers_requirements.txt
if ! cmp -s "$pins" "$peers/installed"; then
  ensure_packages "the peers" "$PYTHON_PACKAGES python3-venv"
  say "fetching the peers from PyPI into $peers (some gigabytes: PyPI's torch brings CUDA)"
  python3 -m venv "$peers"
  "$peers/bin/pip" install --quiet --disable-pip-version-check -r "$pins"
  cp "$pins" "$peers/installed"
fi
configure release
cmake --build --preset release --target kernel_benchmark
OMP_NUM_THREADS=1 exec "$peers/bin/python" tests/benchmark/peers.py "$@"
