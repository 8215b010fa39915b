#!/usr/bin/env python3
"""Machine instructions of the fused kernels per value, as they stand in the code: tools/cuda_instructions.py [LIBRARY]

An upper bound of what a thread executes: the code has the ways of all scale methods and of unusual values, of which a
thread takes one or none. What lies behind the first EXIT without a predicate is left out.
"""

import argparse
import collections
import pathlib
import re
import subprocess

# Of kernels for quantization; those for dequantization have half as many.
VALUES_OF_THREAD = {"Encode": 32, "Decode": 16}
ROOT = pathlib.Path(__file__).resolve().parent.parent
ALU = re.compile(r"^(LOP3|SHF|PRMT|VIMNMX|IMNMX|FMNMX|ISETP|FSETP|FSET|IADD3|LEA|SEL|FSEL|FSET|I2FP|PLOP3|VIADD|VIADDMNMX|POPC|BMSK|SGXT|P2R|R2P|F2FP)")
XU = re.compile(r"^(F2I|I2F|MUFU|F2F|FRND)")
MEMORY = re.compile(r"^(LD|ST|SHFL|ATOM|RED$|REDG|REDUX)")
FMA = re.compile(r"^(FFMA|FMUL|FADD|IMAD|HADD2|HFMA2|HMUL2)")


def functions(sass):
    name = None
    for line in sass.splitlines():
        header = re.match(r"\s*Function : (\S+)", line)
        if header:
            name = header.group(1)
            continue
        instruction = re.match(r"\s*/\*[0-9a-f]{4,}\*/\s+(@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)", line)
        if name and instruction:
            yield name, bool(instruction.group(1)), instruction.group(2)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", nargs="?", default=ROOT / "build/kernels/libquantd_cuda.a")
    parser.add_argument("--filter", default="EncodeShortRuns|DecodeChunks")
    parser.add_argument("--cuobjdump", default=ROOT / ".deps/cuda/bin/cuobjdump")
    arguments = parser.parse_args()
    sass = subprocess.run([arguments.cuobjdump, "--dump-sass", arguments.library], capture_output=True, text=True, check=True)
    counts = collections.defaultdict(collections.Counter)
    finished = set()
    for name, predicated, opcode in functions(sass.stdout):
        if name in finished:
            continue
        base = opcode.split(".")[0]
        kind = "alu" if ALU.match(base) else "xu" if XU.match(base) else "memory" if MEMORY.match(base) else "fma" if FMA.match(base) else "other"
        counts[name][kind] += 1
        if base == "EXIT" and not predicated:
            finished.add(name)
    names = subprocess.run(["c++filt"], input="\n".join(counts), capture_output=True, text=True, check=True).stdout.splitlines()
    print("| kernel | instructions per value | ALU | FMA | conversions | memory and shuffles |\n|---|---|---|---|---|---|")
    rows = []
    for name, count in zip(names, counts.values()):
        short = re.sub(r"quantd::|\(anonymous namespace\)::|\(.*?\)(?=\d)|^void ", "", name)
        short = re.sub(r"\((Device|Fused).*", "", short)
        if short[:6] not in VALUES_OF_THREAD or not re.search(arguments.filter, short):
            continue
        values = VALUES_OF_THREAD[short[:6]]
        per_value = {kind: count[kind] / values for kind in ("alu", "fma", "xu", "memory")}
        rows.append(f"| {short} | {sum(count.values()) / values:.1f} | " + " | ".join(f"{per_value[k]:.1f}" for k in per_value) + " |")
    print("\n".join(sorted(rows)))


if __name__ == "__main__":
    main()
