#!/usr/bin/env python3
"""No function that the linker may share between object files has code for one target only.

usage: object_code_test.py OBJECT...

Of an inline function that several source files emit, the linker keeps any one copy. If that is one compiled for AVX,
programs die of it on processors without.
"""

import re
import subprocess
import sys
import unittest

# Registers of 32 and 64 bytes, mask registers, and instructions in VEX and EVEX encoding, whose names begin with v.
WIDE = re.compile(r"%[yz]mm\d|%k[0-7]\b|^\s*v[a-z0-9]+\s")
SHARED_SYMBOL = re.compile(r"^[0-9a-f]+ [WVu] (\S+)$")
FUNCTION = re.compile(r"^[0-9a-f]+ <(\S+)>:$")


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def shared_symbols(path):
    return {match[1] for match in map(SHARED_SYMBOL.match, run("nm", path).splitlines()) if match}


def functions(path):
    """Names and instructions, without addresses and bytes."""
    name, instructions = None, []
    for line in run("objdump", "--disassemble", "--no-show-raw-insn", "--no-addresses", path).splitlines():
        match = re.match(r"^<(\S+)>:$", line) or FUNCTION.match(line)
        if match:
            if name:
                yield name, instructions
            name, instructions = match[1], []
        else:
            instructions.append(line)
    if name:
        yield name, instructions


class ObjectCode(unittest.TestCase):
    def test_shared_functions_are_for_every_processor(self):
        for path in OBJECTS:
            shared = shared_symbols(path)
            wide = [name for name, lines in functions(path) if name in shared and any(map(WIDE.search, lines))]
            self.assertEqual(wide, [], path)

    def test_sees_wide_code_where_there_is_some(self):
        for path in OBJECTS:
            lines = [line for _, instructions in functions(path) for line in instructions]
            self.assertTrue(any(map(WIDE.search, lines)), path + " has no vector code at all")


if __name__ == "__main__":
    OBJECTS = sys.argv[1:]
    assert OBJECTS, __doc__
    unittest.main(argv=sys.argv[:1])
