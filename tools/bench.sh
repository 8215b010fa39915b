#!/bin/sh
# Builds and runs every benchmark program: tests/benchmark, one after another, on an idle machine.
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
[ -n "$found" ] || fail "there is no build/bin/*_benchmark"
