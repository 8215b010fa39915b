"""demo_table.py FOLDER: one table of what quantize.json, dequantize.json and compare.json in FOLDER say."""

import json
import pathlib
import sys


def table(quantized, compared):
    snr = {tensor["name"]: tensor.get("snr_db") for tensor in compared["tensors"]}
    rows = [(t["name"], "x".join(map(str, t["shape"])), t["bits_per_weight"], snr[t["name"]]) for t in quantized["tensors"]]
    width = max(len(name) for name, *_ in rows)
    yield f"{'tensor':{width}}  {'shape':>11}  bits/weight  SNR dB"
    for name, shape, bits, decibels in rows:
        yield f"{name:{width}}  {shape:>11}  {bits:11.3f}  {decibels:6.2f}"


def speed(report, verb):
    total = report["totals"]
    return (f"{verb}: {len(report['tensors'])} tensors, {total['gb_per_s']:.2f} GB of float32 per second in the calls, "
            f"{report['seconds']:.2f} s with reading, writing and syncing the file")


def main(folder):
    quantized, dequantized, compared = (json.loads((folder / f"{name}.json").read_text())
                                        for name in ("quantize", "dequantize", "compare"))
    total = quantized["totals"]
    print("\n".join(table(quantized, compared)))
    print(f"\nmatrices: {total['bytes_in'] / 1e6:.1f} MB → {total['bytes_out'] / 1e6:.1f} MB, "
          f"{total['bits_per_weight']:.3f} bits per weight; file: {quantized['output_file_bytes'] / 1e6:.1f} MB "
          f"with {len(quantized['copied'])} small tensors copied unchanged")
    print(speed(quantized, "quantized"))
    print(speed(dequantized, "dequantized"))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
