#!/bin/sh
# CUDA 13.0 into .deps/cuda, out of NVIDIA's wheels on PyPI: enough to compile kernels/cuda. 270 MB; a second call finds
# it in place. CUDA_TOOLS=1 adds cuobjdump, nvdisasm and compute-sanitizer.
set -eu
cd "$(dirname "$0")/.."
. tools/common.sh
. tools/packages.sh
prefix=$(pwd)/.deps/cuda
[ "$(uname -sm)" = "Linux x86_64" ] || fail "only Linux x86_64 is pinned: install CUDA yourself, cmake finds nvcc in the path"

base='nvidia-cuda-nvcc==13.0.88 --hash=sha256:56fe502eb77625a12f25172caa3cdddb4e4c8ba2c8c17dba44b164761b380f03
nvidia-cuda-crt==13.0.88 --hash=sha256:2c8043c7c9e02492716426e9919fc78d2c5b3b2a7a768a88e952676b08aa55a4
nvidia-nvvm==13.0.88 --hash=sha256:c5f41ffeb6466944a026dfa5317d7d85355c119bbec279205d22f1869d1054e0
nvidia-cuda-runtime==13.0.96 --hash=sha256:7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548
nvidia-cuda-cccl==13.0.85 --hash=sha256:e0da7ad981f3a8aff08241b5bfc1af868742a63e2762f53a5171c492ef242649'
# cuobjdump and nvdisasm have no 13.0 wheel: 13.2.51 is the oldest, and reads 13.0 output.
extra='nvidia-cuda-sanitizer-api==13.0.85 --hash=sha256:b1efff95f63b6fe40dc83801d598550542364393957775912a1abf396904331c
nvidia-cuda-cuobjdump==13.2.51 --hash=sha256:95c69d3ddf0c2c1f535ec44c3433a66aeee19f588d9d22f73356e20b25f12b50
nvidia-cuda-nvdisasm==13.2.51 --hash=sha256:5a7acf77c55d6d2911ed6155d4d5bc156ffadf9df7a68a89b0c1155f4b13688c'
if [ "${CUDA_TOOLS:-0}" = 1 ]; then pins="$base
$extra"; else pins=$base; fi

if [ -f "$prefix/.pins" ] && [ "$(cat "$prefix/.pins")" = "$pins" ]; then exit 0; fi
ensure_python "fetching CUDA"
say "fetching CUDA's compiler from PyPI into .deps/cuda"
mkdir -p "$(dirname "$prefix")"
tmp=$(mktemp -d "$(dirname "$prefix")/.cuda.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
printf '%s\n' "$pins" > "$tmp/req.txt"
python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore \
  --no-deps --no-cache-dir --no-compile --only-binary=:all: --require-hashes \
  --target "$tmp/site" -r "$tmp/req.txt"

root=$tmp/site/nvidia/cu13
# The wheels have lib/ (nvcc.profile and CMake look in lib64/) and only versioned .so files.
ln -s lib "$root/lib64"
ln -s libcudart.so.13 "$root/lib/libcudart.so"
ln -s libnvvm.so.4 "$root/lib/libnvvm.so"
mkdir -p "$root/licenses"
for d in "$tmp"/site/*.dist-info; do
  n=$(basename "$d" .dist-info)
  [ ! -f "$d/licenses/License.txt" ] || cp "$d/licenses/License.txt" "$root/licenses/$n.txt"
done
printf '{ "cuda" : { "name" : "CUDA SDK", "version" : "13.0.2" } }\n' > "$root/version.json"
printf '%s\n' "$pins" > "$root/.pins"
"$root/bin/nvcc" --version > /dev/null
chmod 755 "$root"
rm -rf "$prefix"
mv "$root" "$prefix"
