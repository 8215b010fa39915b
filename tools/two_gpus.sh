# shellcheck shell=sh disable=SC2154
# The service on two GPUs at once: the part of tools/test_gpu.sh that it sources, with its functions and variables.

# gpu_count_of GPU FIELD: as GetServerInfo has it.
gpu_count_of() {
  "$bin/quantctl" info --json --address "$address" | python3 -c '
import json, sys
print(*(gpu[sys.argv[2]] for gpu in json.load(sys.stdin)["gpus"] if gpu["name"] == sys.argv[1]))' "$1" "$2"
}
is_health() {
  grpcurl -plaintext -d "{\"service\": \"quantd.gpu.$2\"}" "$address" grpc.health.v1.Health/Check |
    grep -q "\"$1\""
}

# both_work COMMAND...: each GPU computes a fifth or more of what GPUs compute meanwhile.
both_work() {
  before_first=$(gpu_count_of "$first" value_bytes)
  before_second=$(gpu_count_of "$second" value_bytes)
  "$@"
  of_first=$(($(gpu_count_of "$first" value_bytes) - before_first))
  of_second=$(($(gpu_count_of "$second" value_bytes) - before_second))
  say "MiB of values on the GPUs: $((of_first >> 20)) and $((of_second >> 20))"
  least=$(((of_first + of_second) / 5))
  if [ $of_first -le $least ] || [ $of_second -le $least ]; then fail "one GPU had next to nothing to do"; fi
}

four_clients() {
  clients=
  for number in 1 2 3 4; do
    quantize tensor "$scratch/out.$number" &
    clients="$clients $!"
  done
  for client in $clients; do wait "$client" || fail "a client saw an error: $(cat "$scratch/log")"; done
  for number in 1 2 3 4; do expect tensor "$scratch/out.$number" "of client $number"; done
}

one_huge_tensor() {
  quantize huge "$scratch/made"
  expect huge "$scratch/made" "of a tensor on two GPUs"
}

# While one GPU's worker is gone, the other's works and says so.
health_is_of_each() {
  if have grpcurl; then
    await 10 is_health NOT_SERVING "$gpu"
    is_health SERVING "$other" || fail "the health of the other GPU changed"
  else
    say "no grpcurl: health was not asked"
  fi
}

# one_is_lost SIGNAL GPU OTHER
one_is_lost() {
  gpu=$2 other=$3
  await 30 is_in_state serving "$other"
  untouched=$(worker_of "$other")
  batches=$(gpu_count_of "$other" batches)
  stream_with "$1" huge "$gpu" health_is_of_each
  [ "$(worker_of "$other")" = "$untouched" ] || fail "the other GPU's worker was replaced"
  ! is_lost "$other" || fail "the other GPU's worker was lost"
  [ "$(gpu_count_of "$other" batches)" -gt "$batches" ] || fail "the other GPU had nothing to do"
  ! have grpcurl || await 10 is_health SERVING "$gpu"
}

# only_second NAME: as CUDA_VISIBLE_DEVICES has it.
only_second() {
  say "CUDA_VISIBLE_DEVICES=$1"
  start_quantd "$1"
  quantize tensor "$scratch/made"
  expect tensor "$scratch/made" "of the second GPU"
  [ "$(gpu_count_of "$1" batches)" -gt 0 ] || fail "the second GPU had nothing to do"
  [ "$(gpu_mib "$second")" -gt 0 ] || fail "the second GPU is not in use"
  [ "$(gpu_mib "$first")" -eq 0 ] || fail "the first GPU is in use too"
  stop_quantd
}

test_two_gpus() {
  if [ "$(gpus | wc -l)" -lt 2 ]; then
    say "one GPU here: two at once were not run"
    return
  fi
  say "the service, on two GPUs"
  first=$(gpus | sed -n 1p)
  second=$(gpus | sed -n 2p)
  write_tensor "$scratch/huge.safetensors" 65536
  made_by_cpu huge
  start_quantd
  await 30 is_in_state serving "$first"
  await 30 is_in_state serving "$second"
  both_work four_clients
  both_work one_huge_tensor
  one_is_lost KILL "$first" "$second"
  one_is_lost STOP "$second" "$first"
  say "idle for longer than idle_exit"
  await 30 is_in_state idle "$first"
  await 30 is_in_state idle "$second"
  await 10 no_gpu_memory
  stop_quantd
  only_second 1
  only_second "$second"
}
