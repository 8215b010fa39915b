#!/bin/sh
# What needs a GPU. `tools/test_gpu.sh collect` copies the programs and their libraries to build/device, to be carried to
# a machine without a compiler; otherwise it runs them, from there if they are there, else from build/bin.
set -eu
cd "$(dirname "$0")/.."
. tools/common.sh
. tools/two_gpus.sh

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
  # Asks for the health of a GPU.
  [ ! -x .deps/bin/grpcurl ] || strip -o build/device/grpcurl .deps/bin/grpcurl
  say "build/device has $(du -sh build/device | cut -f 1)"
}

# One a line.
gpus() { nvidia-smi --query-gpu=uuid --format=csv,noheader; }
# Of all processes, on all GPUs or on one.
gpu_mib() {
  nvidia-smi ${1:+-i "$1"} --query-compute-apps=used_memory --format=csv,noheader,nounits |
    awk '{sum += $1} END {print sum + 0}'
}

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
# What a GPU's worker was last, and its process.
last_state() { grep "info gpu worker device=$1 " "$scratch/log" | tail -n 1; }
is_in_state() { last_state "$2" | grep -q "state=$1 "; }
worker_of() { last_state "$1" | sed 's/.* pid=//'; }
# What was logged after the first $mark lines about a GPU.
marked() { tail -n "+$((mark + 1))" "$scratch/log" | grep "device=$1 "; }
is_lost() { marked "$1" | grep -q 'gpu worker lost'; }
# By another one, which may have ended meanwhile because it was idle.
is_replaced() { marked "$1" | sed -n '/gpu worker lost/,$p' | grep -q state=serving; }
no_gpu_memory() { [ "$(gpu_mib)" -eq 0 ]; }

# write_tensor FILE ROWS: each has 32 KiB.
write_tensor() {
  python3 - "$1" "$2" <<'PYTHON'
import json, random, struct, sys
rows, columns = int(sys.argv[2]), 8192
header = json.dumps({"weight": {"dtype": "F32", "shape": [rows, columns], "data_offsets": [0, rows * columns * 4]}}).encode()
row = struct.pack(f"<{columns}f", *(random.Random(7).gauss(0, 1) for _ in range(columns)))
with open(sys.argv[1], "wb") as file:
    file.write(struct.pack("<Q", len(header)) + header)
    for _ in range(rows):
        file.write(row)
PYTHON
}

# start_quantd [CUDA_VISIBLE_DEVICES]. idle_exit: longer than quantctl may take to have its file on a slow disk.
start_quantd() {
  printf '[gpu]\nmode = "required"\nunit_deadline = "2s"\nidle_trim = "0.5s"\nidle_exit = "10s"\n' >"$scratch/config.toml"
  env ${1:+CUDA_VISIBLE_DEVICES="$1"} "$bin/quantd" --listen 127.0.0.1:0 --config "$scratch/config.toml" \
    >"$scratch/out" 2>"$scratch/log" &
  quantd=$!
  address=$(listening_address "$scratch/out" "$scratch/log" "$quantd")
}

stop_quantd() {
  kill "$quantd"
  wait "$quantd" || fail "quantd did not end well"
  quantd=
}

# quantize NAME TARGET
quantize() { "$bin/quantctl" quantize "$scratch/$1.safetensors" "$2" --scheme bnb-nf4 --address "$address" >/dev/null; }
# expect NAME TARGET WHEN: the bytes of the CPU.
expect() { cmp "$2" "$scratch/$1.expected" || fail "other bytes $3"; }
# made_by_cpu NAME
made_by_cpu() {
  "$bin/quantctl" quantize "$scratch/$1.safetensors" "$scratch/$1.expected" --scheme bnb-nf4 >/dev/null
}

# stream_with SIGNAL NAME GPU [WHILE...]: a stream while that GPU's worker gets the signal; the bytes must be the CPU's.
# WHILE is run between the signal and the end of the stream.
stream_with() {
  signal=$1 tensor=$2 gpu=$3
  shift 3
  say "a stream whose worker gets SIG$signal"
  quantize "$tensor" "$scratch/warm"
  await 30 is_in_state serving "$gpu"
  mark=$(wc -l <"$scratch/log")
  quantize "$tensor" "$scratch/made" &
  client=$!
  sleep 0.2
  kill "-$signal" "$(worker_of "$gpu")"
  "$@"
  wait $client || fail "the client saw an error: $(cat "$scratch/log")"
  expect "$tensor" "$scratch/made" "after SIG$signal"
  # Where all of it was computed before the signal, the next one meets what the signal has left.
  is_lost "$gpu" || quantize "$tensor" "$scratch/made"
  await 30 is_lost "$gpu"
  await 30 is_replaced "$gpu"
}

# Takes all memory of the GPU that is free, says so, and keeps it until it is killed.
memory_hog() {
  CUDA_VISIBLE_DEVICES=$gpu exec python3 -u - <<'PYTHON'
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
  quantize tensor "$scratch/made" || fail "the client saw an error: $(cat "$scratch/log")"
  kill $hog
  wait $hog || true
  expect tensor "$scratch/made" "beside the hog"
  logged "batch goes from a gpu to the cpu" || fail "the GPU had memory all the same"
  "$bin/quantctl" info --address "$address" | grep gpus
}

prepare() {
  if [ -d build/device ]; then bin=$PWD/build/device; else bin=$PWD/build/bin; fi
  LD_LIBRARY_PATH=$bin/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  export LD_LIBRARY_PATH
  PATH=$bin:$PWD/.deps/bin:$PATH
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
  say "the service, on one GPU"
  gpu=$(gpus | head -n 1)
  write_tensor "$scratch/tensor.safetensors" 16384
  made_by_cpu tensor
  start_quantd "$gpu"
  stream_beside_hog
  quantize tensor "$scratch/made"
  expect tensor "$scratch/made" "of the GPU"
  say "MiB of the GPU while it serves: $(gpu_mib)"
  stream_with KILL tensor "$gpu" :
  stream_with STOP tensor "$gpu" :
  say "idle for longer than idle_exit"
  await 30 is_in_state idle "$gpu"
  await 10 no_gpu_memory
  "$bin/quantctl" info --address "$address" | grep gpus
  stop_quantd
}

case ${1:-all} in
  collect) collect ;;
  kernels | service | all)
    prepare
    [ "${1:-all}" = service ] || test_kernels
    [ "${1:-all}" = kernels ] || { test_service && test_two_gpus; }
    say "passed"
    ;;
  *) fail "usage: tools/test_gpu.sh [collect|kernels|service]" ;;
esac
