#!/bin/sh
# What needs a GPU. `tools/test_gpu.sh collect` copies the programs and their libraries to build/device, to be carried to
# a machine without a compiler; otherwise it runs them, from there if they are there, else from build/bin.
set -eu
cd "$(dirname "$0")/.."
. tools/common.sh

PROGRAMS="quantd quantctl quantd-gpu-worker kernels_cuda_test conformance_test real_gpu_worker_test"

collect() {
  rm -rf build/device
  mkdir -p build/device/lib
  for program in $PROGRAMS; do
    cp "build/bin/$program" build/device/
    strip "build/device/$program"
    # The C library and its loader are the machine's own.
    ldd "build/bin/$program" | awk '$3 ~ /^\// {print $3}' | grep -Ev '/(libc|libm|libdl|libpthread|librt)\.so' |
      xargs -r cp -n -L -t build/device/lib
  done
  say "build/device has $(du -sh build/device | cut -f 1)"
}

gpu_mib() { nvidia-smi --query-compute-apps=used_memory --format=csv,noheader,nounits | awk '{sum += $1} END {print sum + 0}'; }

# worker_of PID: the worker that quantd started.
worker_of() { cat "/proc/$1/task"/*/children | tr ' ' '\n' | grep . | head -n 1; }

# await SECONDS COMMAND...: until it succeeds.
await() {
  tries=$(($1 * 10))
  shift
  until "$@"; do
    tries=$((tries - 1))
    [ $tries -gt 0 ] || fail "in vain: $*; $(cat "$scratch/log")"
    sleep 0.1
  done
}
logged() { grep -q "$1" "$scratch/log"; }
# The state that the worker was in last.
is_in_state() { grep 'info gpu worker device=' "$scratch/log" | tail -n 1 | grep -q "state=$1 "; }
# What was logged after the first $mark lines.
marked() { tail -n "+$((mark + 1))" "$scratch/log"; }
is_lost() { marked | grep -q 'gpu worker lost'; }
# By another one, which may have ended meanwhile because it was idle.
is_replaced() { marked | sed -n '/gpu worker lost/,$p' | grep -q state=serving; }
no_gpu_memory() { [ "$(gpu_mib)" -eq 0 ]; }

write_tensor() {
  python3 - "$1" <<'PYTHON'
import json, random, struct, sys
rows, columns = 16384, 8192
header = json.dumps({"weight": {"dtype": "F32", "shape": [rows, columns], "data_offsets": [0, rows * columns * 4]}}).encode()
row = struct.pack(f"<{columns}f", *(random.Random(7).gauss(0, 1) for _ in range(columns)))
with open(sys.argv[1], "wb") as file:
    file.write(struct.pack("<Q", len(header)) + header)
    for _ in range(rows):
        file.write(row)
PYTHON
}

# idle_exit: longer than quantctl may take to have its file on a slow disk.
start_quantd() {
  printf '[gpu]\nmode = "required"\nunit_deadline = "2s"\nidle_trim = "0.5s"\nidle_exit = "10s"\n' >"$scratch/config.toml"
  "$bin/quantd" --listen 127.0.0.1:0 --config "$scratch/config.toml" >"$scratch/out" 2>"$scratch/log" &
  quantd=$!
  address=$(listening_address "$scratch/out" "$scratch/log" "$quantd")
}

quantize() { "$bin/quantctl" quantize "$scratch/in.safetensors" "$1" --scheme bnb-nf4 --address "$address"; }

# stream_with SIGNAL: a tensor of 512 MiB while the worker gets the signal; the bytes must be the CPU's.
stream_with() {
  say "a stream whose worker gets SIG$1"
  quantize "$scratch/warm.safetensors" >/dev/null
  await 30 is_in_state serving
  mark=$(wc -l <"$scratch/log")
  quantize "$scratch/out.safetensors" >/dev/null &
  client=$!
  sleep 0.2
  worker=$(worker_of "$quantd")
  kill "-$1" "$worker"
  wait $client || fail "the client saw an error: $(cat "$scratch/log")"
  cmp "$scratch/out.safetensors" "$scratch/expected.safetensors" || fail "other bytes after SIG$1"
  # Where all of it was computed before the signal, the next one meets what the signal has left.
  is_lost || quantize "$scratch/out.safetensors" >/dev/null
  await 30 is_lost
  await 30 is_replaced
}

# Takes all memory of the GPU that is free, says so, and keeps it until it is killed.
memory_hog() {
  exec python3 -u - <<'PYTHON'
import ctypes, signal
cuda = ctypes.CDLL("libcuda.so.1")
context, memory = ctypes.c_void_p(), ctypes.c_uint64()
assert cuda.cuInit(0) == 0 and cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0) == 0
assert cuda.cuCtxSetCurrent(context) == 0
for shift in range(34, 19, -1):
    while cuda.cuMemAlloc_v2(ctypes.byref(memory), ctypes.c_size_t(1 << shift)) == 0:
        pass
print("full")
signal.pause()
PYTHON
}

# A stream while another process has the GPU's memory: the CPU does what the GPU cannot.
stream_beside_hog() {
  say "a stream beside a process that has all the memory"
  : >"$scratch/hog"
  memory_hog >"$scratch/hog" &
  hog=$!
  await 60 grep -q full "$scratch/hog"
  quantize "$scratch/out.safetensors" >/dev/null || fail "the client saw an error: $(cat "$scratch/log")"
  kill $hog
  wait $hog || true
  cmp "$scratch/out.safetensors" "$scratch/expected.safetensors" || fail "other bytes beside the hog"
  logged "batch goes from a gpu to the cpu" || fail "the GPU had memory all the same"
  "$bin/quantctl" info --address "$address" | grep gpus
}

prepare() {
  if [ -d build/device ]; then bin=$PWD/build/device; else bin=$PWD/build/bin; fi
  LD_LIBRARY_PATH=$bin/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  export LD_LIBRARY_PATH
  scratch=$(mktemp -d)
  quantd=
  trap '[ -z "$quantd" ] || kill -9 "$quantd" 2>/dev/null; rm -rf "$scratch"' EXIT
  have nvidia-smi || fail "there is no nvidia-smi: this needs a GPU"
}

test_kernels() {
  say "kernels, conformance, the worker by itself"
  "$bin/kernels_cuda_test" --gtest_brief=1
  "$bin/conformance_test" --gtest_brief=1 --gtest_filter='*cuda*'
  "$bin/real_gpu_worker_test" --gtest_brief=1
  if have compute-sanitizer; then
    # API errors are what a test provokes on purpose.
    compute-sanitizer --report-api-errors no --error-exitcode 9 "$bin/kernels_cuda_test" --gtest_brief=1
    # A hundred times as slow as without: the known answers of every preset only.
    compute-sanitizer --tool racecheck --report-api-errors no --error-exitcode 9 "$bin/kernels_cuda_test" \
      --gtest_brief=1 --gtest_filter='*KnownAnswers*'
  else
    say "compute-sanitizer is not installed: not run"
  fi
}

test_service() {
  say "the service"
  write_tensor "$scratch/in.safetensors"
  "$bin/quantctl" quantize "$scratch/in.safetensors" "$scratch/expected.safetensors" --scheme bnb-nf4 >/dev/null
  start_quantd
  stream_beside_hog
  quantize "$scratch/out.safetensors"
  cmp "$scratch/out.safetensors" "$scratch/expected.safetensors" || fail "the GPU's bytes are not the CPU's"
  say "MiB of the GPU while it serves: $(gpu_mib)"
  stream_with KILL
  stream_with STOP
  say "idle for longer than idle_exit"
  await 30 is_in_state idle
  await 10 no_gpu_memory
  "$bin/quantctl" info --address "$address" | grep gpus
  kill "$quantd"
  wait "$quantd" || fail "quantd did not end well"
  quantd=
}

case ${1:-all} in
  collect) collect ;;
  kernels | service | all)
    prepare
    [ "${1:-all}" = service ] || test_kernels
    [ "${1:-all}" = kernels ] || test_service
    say "passed"
    ;;
  *) fail "usage: tools/test_gpu.sh [collect|kernels|service]" ;;
esac
