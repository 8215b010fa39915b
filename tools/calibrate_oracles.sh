#!/bin/sh
# Calibrate's ranges beside numpy, torch and compressed-tensors: tests/ecosystem/calibrate_oracles.py, in the peers' virtual environment.
set -eu
cd "$(dirname "$0")/.."
. tools/common.sh
. tools/packages.sh

ensure_ecosystem
configure release
cmake --build --preset release --target quantctl
exec "$peers/bin/python" tests/ecosystem/calibrate_oracles.py build/bin/quantctl
