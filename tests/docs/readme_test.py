"""The README's examples, run as a reader would run them, against a server of its own.

A fenced block after `<!-- run -->` is run by sh; localhost:50051 in it becomes the server's address, and model.safetensors is there.
A block after `<!-- file: PATH -->` is that file, to the letter. usage: readme_test.py FOLDER_WITH_QUANTD_AND_QUANTCTL
"""

import json
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROGRAMS = pathlib.Path(sys.argv.pop()).resolve() if len(sys.argv) > 1 else ROOT / "build/bin"
ADDRESS_IN_README = "localhost:50051"
TIMEOUT_S = 60


def blocks_after(marker, text=README):
    """(marker's argument, block) of every fenced block after `<!-- marker… -->`."""
    pattern = rf"<!-- {marker}(?:: (\S+))? -->\n```\w*\n(.*?)```\n"
    return re.findall(pattern, text, re.DOTALL)


def write_model(path):
    """Two float32 matrices and a vector, as safetensors."""
    shapes = {"embedding.weight": [96, 64], "layer.weight": [64, 50], "layer.bias": [50]}
    header, data = {}, b""
    for name, shape in shapes.items():
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        values = struct.pack(f"<{count}f", *[((i * 7919) % 2003) / 1001 - 1 for i in range(count)])
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


class Server:
    """A quantd on a free port, as a context manager that gives its address."""

    def __enter__(self):
        self.process = subprocess.Popen([PROGRAMS / "quantd", "--listen", "127.0.0.1:0", "--log-level", "error"],
                                        stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        found = re.search(r" listening on (\S+)", line)
        if not found:
            self.process.kill()
            self.process.communicate()
            raise AssertionError(f"quantd did not say where it listens, but: {line!r}")
        return found.group(1)

    def __exit__(self, *exception):
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=TIMEOUT_S)
        assert self.process.returncode == 0, f"quantd ended with {self.process.returncode}"
        return False


def run(script, folder, address):
    path = os.pathsep.join([str(PROGRAMS), str(ROOT / ".deps/bin"), os.environ["PATH"]])
    return subprocess.run(["sh", "-euc", script.replace(ADDRESS_IN_README, address)], cwd=folder, env={**os.environ, "PATH": path},
                          capture_output=True, text=True, timeout=TIMEOUT_S)


def have_grpcurl():
    return (ROOT / ".deps/bin/grpcurl").exists() or shutil.which("grpcurl")


class Readme(unittest.TestCase):
    def assert_runs(self, script, address, folder):
        result = run(script, folder, address)
        self.assertEqual(0, result.returncode, f"{script}\n{result.stdout}{result.stderr}")
        return result.stdout

    def scripts(self, with_grpcurl):
        return [script for _, script in blocks_after("run") if ("grpcurl" in script) == with_grpcurl]

    def test_quantctl_examples(self):
        self.assertTrue(self.scripts(with_grpcurl=False))
        with tempfile.TemporaryDirectory() as folder, Server() as address:
            write_model(pathlib.Path(folder) / "model.safetensors")
            for script in self.scripts(with_grpcurl=False):
                self.assert_runs(script, address, folder)

    @unittest.skipUnless(have_grpcurl(), "no grpcurl: tools/fetch_grpcurl.sh builds it where Go is")
    def test_grpcurl_examples(self):
        self.assertTrue(self.scripts(with_grpcurl=True))
        with tempfile.TemporaryDirectory() as folder, Server() as address:
            for script in self.scripts(with_grpcurl=True):
                self.assertIn('"', self.assert_runs(script, address, folder))

    def test_cpp_example_is_the_compiled_file(self):
        files = blocks_after("file")
        self.assertTrue(files)
        for path, block in files:
            self.assertEqual((ROOT / path).read_text(encoding="utf-8"), block, f"README.md does not show {path} as it is")

    def test_cpp_example_runs(self):
        with tempfile.TemporaryDirectory() as folder, Server() as address:
            self.assert_runs(f"quantize_tensor {ADDRESS_IN_README}", address, folder)


class Blocks(unittest.TestCase):
    def test_blocks_are_found_by_their_marker(self):
        text = "<!-- run -->\n```sh\necho 1\n```\n\n```\necho 2\n```\n<!-- file: a/b.cc -->\n```cpp\nint x;\n```\n"
        self.assertEqual([("", "echo 1\n")], blocks_after("run", text))
        self.assertEqual([("a/b.cc", "int x;\n")], blocks_after("file", text))

    def test_a_failing_line_fails_the_script(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertNotEqual(0, run("false\ntrue\n", folder, "").returncode)


if __name__ == "__main__":
    unittest.main()
