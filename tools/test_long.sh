#!/bin/sh
# Builds and runs exhaustive_long_test, a part of its cases on each processor. Arguments go to every part.
set -eu
cd "$(dirname "$0")/.."
. tools/common.sh

configure release
cmake --build --preset release --target exhaustive_long_test
shards=$(nproc)
started=
for shard in $(seq 0 $((shards - 1))); do
  GTEST_TOTAL_SHARDS=$shards GTEST_SHARD_INDEX=$shard build/bin/exhaustive_long_test --gtest_brief=1 "$@" &
  started="$started $!"
done
failed=
for process in $started; do
  wait "$process" || failed=yes
done
[ -z "$failed" ] || fail "a part of exhaustive_long_test failed"
