"""The libraries' own CPU code beside our kernels, alternately in one run, on one thread. `./run bench-peers`.

Prints a markdown table: values per second of the peer, of our fastest target, and the ratio. Both encode the values'
statistics too; both are processor time.
"""

import argparse
import re
import statistics
import subprocess
import time

import bitsandbytes.functional as bnb
import torch
from compressed_tensors.quantization import QuantizationArgs
from compressed_tensors.quantization.lifecycle.forward import dequantize as ct_dequantize
from compressed_tensors.quantization.lifecycle.forward import quantize as ct_quantize
from compressed_tensors.quantization.utils import calculate_qparams
from torchao.prototype.mx_formats.mx_tensor import to_mx

COLUMNS = 4096
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def bnb_4bit(values, quant_type):
    codes, state = bnb.quantize_4bit(values, blocksize=64, quant_type=quant_type)
    return (lambda: bnb.quantize_4bit(values, blocksize=64, quant_type=quant_type),
            lambda: bnb.dequantize_4bit(codes, state))


def bnb_8bit(values):
    codes, state = bnb.quantize_blockwise(values, blocksize=256)
    return (lambda: bnb.quantize_blockwise(values, blocksize=256),
            lambda: bnb.dequantize_blockwise(codes, state))


def mx(values, element):
    return lambda: to_mx(values, element, 32), None


def compressed_tensors(values, group_size, **scheme):
    args = QuantizationArgs(symmetric=True, group_size=group_size, **scheme)

    def quantize():
        grouped = values if group_size is None else values.view(values.shape[0], -1, group_size)
        scale, zero_point = calculate_qparams(grouped.amin(-1, keepdim=group_size is None),
                                              grouped.amax(-1, keepdim=group_size is None), args)
        return ct_quantize(values, scale, zero_point, args, dtype=args.pytorch_dtype()), scale

    codes, scale = quantize()
    return quantize, lambda: ct_dequantize(codes, scale, args=args)


# Of each: the peer's name, our preset, and what makes its quantize and dequantize of values.
PEERS = [
    ("bitsandbytes nf4", "bnb-nf4", lambda v: bnb_4bit(v, "nf4")),
    ("bitsandbytes fp4", "bnb-fp4", lambda v: bnb_4bit(v, "fp4")),
    ("bitsandbytes blockwise 8 bit", "bnb-dynamic8", bnb_8bit),
    ("torchao to_mx e4m3", "mxfp8-e4m3", lambda v: mx(v, torch.float8_e4m3fn)),
    ("torchao to_mx e2m1", "mxfp4", lambda v: mx(v, torch.float4_e2m1fn_x2)),
    ("compressed-tensors W8A8", "ct-w8a8",
     lambda v: compressed_tensors(v, None, num_bits=8, type="int", strategy="channel")),
    ("compressed-tensors W4A16, without packing", "ct-w4a16",
     lambda v: compressed_tensors(v, 128, num_bits=4, type="int", strategy="group")),
    ("compressed-tensors FP8 of rows", "ct-fp8-dynamic",
     lambda v: compressed_tensors(v, None, num_bits=8, type="float", strategy="channel")),
]


def peer_seconds(function):
    begin = time.thread_time()
    function()
    return time.thread_time() - begin


def our_gigabytes_per_second(program, preset, direction, dtype, kib):
    name = f"^{preset}/{direction}/{dtype}/[^/]*/{kib}KiB$"
    output = subprocess.run([program, "--rounds=1", f"--kib={kib}", f"--benchmark_filter={name}"], check=True,
                            stdout=subprocess.PIPE, text=True).stdout
    rates = re.findall(r"^\| \S+/\S+KiB \| ([0-9.]+) \|", output, re.MULTILINE)
    return max(float(rate) for rate in rates)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kib", type=int, default=128 << 10, help="size of the values, a multiple of 64")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--filter", default="", help="regular expression for names of peers")
    parser.add_argument("--program", default="build/bin/kernel_benchmark")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| peer | direction | type | peer, values GB/s | ours, values GB/s | ours / peer |\n|---|---|---|---|---|---|")
    for peer, preset, make in PEERS:
        if not re.search(options.filter, peer):
            continue
        for dtype_name, dtype in DTYPES.items():
            value_bytes = options.kib << 10
            values = torch.randn(value_bytes // dtype.itemsize // COLUMNS, COLUMNS, dtype=dtype)
            for direction, function in zip(("encode", "decode"), make(values)):
                if function is None:
                    continue
                function()
                peers, ours = [], []
                for _ in range(options.rounds):
                    peers.append(value_bytes / peer_seconds(function) / 1e9)
                    ours.append(our_gigabytes_per_second(options.program, preset, direction, dtype_name, options.kib))
                theirs, own = statistics.median(peers), statistics.median(ours)
                print(f"| {peer} | {direction} | {dtype_name} | {theirs:.3f} | {own:.2f} | {own / theirs:.0f} |",
                      flush=True)


if __name__ == "__main__":
    main()
