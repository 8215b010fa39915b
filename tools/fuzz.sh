#!/bin/sh
# Builds the fuzzers and runs each for $1 seconds (300). Inputs that reach new code join tests/fuzz/corpus, merged so that none is there without need;
# one that fails stays in build/fuzz/ and its name is printed.
set -eu
cd "$(dirname "$0")/.."
. tools/common.sh

seconds=${1:-300}
configure fuzz
cmake --build --preset fuzz
for target in frame safetensors; do
  found=build/fuzz/corpus/$target
  kept=tests/fuzz/corpus/$target
  mkdir -p "$found"
  say "$target: $seconds s"
  "build/fuzz/bin/${target}_fuzzer" -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=2048 -verbosity=0 -print_final_stats=1 \
    -artifact_prefix=build/fuzz/ "$found" "$kept"
  "build/fuzz/bin/${target}_fuzzer" -set_cover_merge=1 -use_counters=0 -max_len=4096 -verbosity=0 "$kept" "$found"
done
