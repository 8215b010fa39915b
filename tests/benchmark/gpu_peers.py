"""The libraries' own GPU code beside our kernels, in one run on one GPU. Needs torch, bitsandbytes, torchao.

Prints a markdown table: bytes read and written per second of the peer, of ours, and the ratio; and how many of the
peer's bytes are not ours. Values lie in the GPU's memory; the time is that between CUDA events, medians.
"""

import argparse
import pathlib
import re
import statistics
import subprocess
import tempfile

import bitsandbytes.functional as bnb
import safetensors.torch
import torch
from torchao.prototype.mx_formats.mx_tensor import to_mx

COLUMNS = 4096
COMPARED_MIB = 64


class Bnb4Bit:
    code_bytes = 0.5

    def __init__(self, quant_type, nested=False):
        self.name, self.preset = f"bitsandbytes {quant_type}", f"bnb-{quant_type}"
        self.quant_type = quant_type
        self.ours, self.state_bytes = f"{self.preset} block 64", 4 / 64
        if nested:
            self.name += ", double quantization"
            self.ours, self.state_bytes = f"{self.preset} double", 1 / 64 + 4 / (64 * 256)
        self.nested = nested
        self.compared = not nested

    def quantize(self, values):
        return bnb.quantize_4bit(values, blocksize=64, quant_type=self.quant_type, compress_statistics=self.nested)

    def dequantize(self, quantized):
        return bnb.dequantize_4bit(*quantized)

    def bytes_of(self, quantized):
        return {"codes": quantized[0], "scales": quantized[1].absmax}


class Bnb8Bit:
    name, preset, ours = "bitsandbytes blockwise 8 bit", "bnb-dynamic8", "bnb-dynamic8 block 256"
    code_bytes, state_bytes, compared = 1, 4 / 256, True

    def quantize(self, values):
        return bnb.quantize_blockwise(values, blocksize=256)

    def dequantize(self, quantized):
        return bnb.dequantize_blockwise(*quantized)

    def bytes_of(self, quantized):
        return {"codes": quantized[0], "scales": quantized[1].absmax}


class TorchaoMx:
    dequantize = None
    state_bytes, compared = 1 / 32, True

    def __init__(self, element, preset, code_bytes):
        self.name, self.preset, self.ours = f"torchao to_mx {element}, compiled", preset, preset
        self.code_bytes = code_bytes
        dtype = {"e4m3": torch.float8_e4m3fn, "e2m1": torch.float4_e2m1fn_x2}[element]
        self.quantize = torch.compile(lambda values: to_mx(values, dtype, 32))

    def bytes_of(self, quantized):
        return {"codes": quantized[1], "scales": quantized[0]}


def make_peers():
    return [Bnb4Bit("nf4"), Bnb4Bit("fp4"), Bnb4Bit("nf4", nested=True), Bnb8Bit(),
            TorchaoMx("e4m3", "mxfp8-e4m3", 1), TorchaoMx("e2m1", "mxfp4", 0.5)]


def median_seconds(function, rounds):
    function()
    seconds = []
    for _ in range(rounds):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        function()
        end.record()
        end.synchronize()
        seconds.append(begin.elapsed_time(end) / 1e3)
    return statistics.median(seconds)


def our_rates(programs, ours, mib):
    """GB/s of quantizing and dequantizing, bytes read and written."""
    pattern = "^" + re.escape(ours) + "/bfloat16$"
    output = subprocess.run([programs / "device_benchmark", f"--mib={mib}", f"--filter={pattern}"], check=True,
                            stdout=subprocess.PIPE, text=True).stdout
    row = re.search(r"^\| " + re.escape(ours) + r" \| bfloat16 \| (\d+) \| \S+ \| (\d+) \|", output, re.MULTILINE)
    return float(row[1]), float(row[2])


def differing_bytes(programs, peer):
    """Of the peer's bytes for random values, those that are not ours, as a text."""
    values = torch.randn((COMPARED_MIB << 20) // 2 // COLUMNS, COLUMNS, dtype=torch.bfloat16, device="cuda")
    with tempfile.TemporaryDirectory() as folder:
        source, target = pathlib.Path(folder, "in.safetensors"), pathlib.Path(folder, "out.safetensors")
        safetensors.torch.save_file({"w": values.cpu()}, source)
        subprocess.run([programs / "quantctl", "quantize", source, target, "--scheme", peer.preset], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        ours = safetensors.torch.load_file(target)
    texts = []
    for segment, theirs in peer.bytes_of(peer.quantize(values)).items():
        own = ours[f"w.{segment}"].contiguous().view(torch.uint8).flatten()
        other = theirs.contiguous().view(torch.uint8).flatten().cpu()
        different = int((own != other).sum()) if own.shape == other.shape else "other sizes"
        texts.append(f"{segment} {different} of {own.numel()}")
    return ", ".join(texts)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mib", type=int, default=1024, help="size of the bfloat16 values")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--programs", type=pathlib.Path, default=pathlib.Path("build/bin"))
    options = parser.parse_args()
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {options.mib} MiB of bfloat16\n")
    print("| peer | direction | peer GB/s | ours GB/s | ours / peer | bytes that differ |\n|---|---|---|---|---|---|")
    for peer in make_peers():
        value_bytes = options.mib << 20
        values = torch.randn(value_bytes // 2 // COLUMNS, COLUMNS, dtype=torch.bfloat16, device="cuda")
        moved = values.numel() * (2 + peer.code_bytes + peer.state_bytes) / 1e9
        rates = {"quantize": moved / median_seconds(lambda: peer.quantize(values), options.rounds)}
        if peer.dequantize is not None:
            quantized = peer.quantize(values)
            rates["dequantize"] = moved / median_seconds(lambda: peer.dequantize(quantized), options.rounds)
            del quantized
        del values
        torch.cuda.empty_cache()
        ours = dict(zip(("quantize", "dequantize"), our_rates(options.programs, peer.ours, options.mib)))
        different = differing_bytes(options.programs, peer) if peer.compared else "not compared"
        for direction, rate in rates.items():
            print(f"| {peer.name} | {direction} | {rate:.0f} | {ours[direction]:.0f} | {ours[direction] / rate:.1f} "
                  f"| {different if direction == 'quantize' else ''} |", flush=True)


if __name__ == "__main__":
    main()
