#!/bin/sh
# Formats every C++ and CUDA file in place; with --check it only says which would change.
set -eu
cd "$(dirname "$0")/.."
. tools/common.sh
. tools/packages.sh
ensure_packages "formatting" "$FORMAT_PACKAGES"

case ${1:-} in
  --check) mode="--dry-run --Werror" ;;
  *) mode="-i" ;;
esac
# shellcheck disable=SC2086  # two words
find kernels proto server client tests \( -name '*.h' -o -name '*.cc' -o -name '*.cu' -o -name '*.cuh' \) -print0 | xargs -0 -r clang-format-19 $mode
