#!/usr/bin/env python3
"""Fails if a fused kernel converts by many instructions what its architecture has one for.

Usage: tools/check_conversions.py build/kernels/libquantd_cuda.a
"""

import collections
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Kernel, the first architecture with the instruction, the instruction, and how often it is there at least: a thread of
# an encoder has 32 values and one of a decoder 16, two to an instruction.
RULES = [
    (r"Encode(Short|Long)Runs<.*Fp8E4m3", 89, r"F2FP\.SATFINITE\.E4M3\.", 16),
    (r"Encode(Short|Long)Runs<.*Fp8E5m2", 89, r"F2FP\.SATFINITE\.E5M2\.", 16),
    (r"DecodeChunks<.*Fp8E4m3", 89, r"F2FP\.F16\.E4M3\.UNPACK", 8),
    (r"DecodeChunks<.*Fp8E5m2", 89, r"F2FP\.F16\.E5M2\.UNPACK", 8),
    (r"DecodeChunks<.*BFloat16Values", 80, r"F2FP\.BF16\.(F32\.)?PACK_AB", 8),
    (r"DecodeChunks<.*[^B]Float16Values", 80, r"F2FP\.(F16\.F32\.)?PACK_AB", 8),
]


def opcodes_of_kernels(sass):
    """(architecture, mangled name) to its opcodes."""
    kernels = collections.defaultdict(list)
    architecture, name = 0, None
    for line in sass:
        if match := re.search(r"arch = sm_(\d+)|\.target\s+sm_(\d+)", line):
            architecture = int(match.group(1) or match.group(2))
        elif match := re.match(r"\s*Function : (\S+)", line):
            name = match.group(1)
        elif name and (match := re.match(r"\s*/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)", line)):
            kernels[architecture, name].append(match.group(1))
    return kernels


def demangled(names):
    names = list(names)
    output = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True).stdout
    return dict(zip(names, output.splitlines()))


def problems(kernels, name_of):
    """What is wrong, and how many kernels a rule looked at."""
    found, looked_at = [], 0
    for (architecture, mangled), opcodes in kernels.items():
        for kernel, since, instruction, least in RULES:
            if architecture < since or not re.search(kernel, name_of[mangled]):
                continue
            looked_at += 1
            count = sum(1 for opcode in opcodes if re.match(instruction, opcode))
            if count < least:
                found.append(f"sm_{architecture} {name_of[mangled]}: {instruction} {count} times, not {least}")
    return found, looked_at


def main(files):
    if not files:
        sys.exit(__doc__)
    cuobjdump = os.environ.get("CUOBJDUMP", ROOT / ".deps/cuda/bin/cuobjdump")
    kernels = {}
    for file in files:
        with subprocess.Popen([cuobjdump, "--dump-sass", file], stdout=subprocess.PIPE, text=True) as dump:
            kernels.update(opcodes_of_kernels(dump.stdout))
    found, looked_at = problems(kernels, demangled({mangled for _, mangled in kernels}))
    if found:
        sys.exit("check_conversions: emulated, where there is an instruction:\n" + "\n".join(found))
    if looked_at == 0:
        sys.exit("check_conversions: none of the kernels that it knows is in " + " ".join(files))
    print(f"check_conversions: {looked_at} kernels convert by instructions")


if __name__ == "__main__":
    main(sys.argv[1:])
