#!/bin/sh
# Builds and runs every benchmark program, one after another, on an idle machine: tests/benchmark, and quantctl bench.
set -eu
cd "$(dirname "$0")/.."
. tools/common.sh

configure release
cmake --build --preset release
found=
for program in build/bin/*_benchmark; do
  [ -x "$program" ] || continue
  found=yes
  say "$(basename "$program")"
  "$program" "$@"
done
say "quantctl bench"
build/bin/quantctl bench --tensor-mib 1024
[ -n "$found" ] || fail "there is no build/bin/*_benchmark"
