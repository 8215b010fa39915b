"""The libraries' golden vectors through quantctl: files in, files out, on every CPU target, embedded and over TCP."""

import itertools
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import unittest

import golden_cases
from golden_cases import FLOAT_NAMES, cases_of, read_safetensors, write_safetensors

QUANTCTL, QUANTD = sys.argv[1:3]
MESSAGE_BYTES = [1, 777, 1 << 20, (4 << 20) - (64 << 10)]
CPU_TARGETS = ["scalar", "avx2", "avx512"]


def call_of(case):
    """What one call of quantctl can do together."""
    dtype = case.dequantized[0] if case.dequantized else ""
    return (case.preset, sorted(case.overrides.items()), case.input is None, dtype)


class QuantctlGolden(unittest.TestCase):
    server = None
    address = None

    @classmethod
    def setUpClass(cls):
        cls.server = subprocess.Popen([QUANTD, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        cls.address = cls.server.stdout.readline().split(" listening on ")[1].strip()

    @classmethod
    def tearDownClass(cls):
        cls.server.send_signal(signal.SIGTERM)
        assert cls.server.wait() == 0
        cls.server.stdout.close()

    def run_quantctl(self, *arguments):
        done = subprocess.run([QUANTCTL, *map(str, arguments)], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def compare(self, cases, more):
        """Quantizes the cases' inputs, compares every segment, dequantizes, compares again. Returns the bytes compared."""
        compared = 0
        for _, group in itertools.groupby(sorted(cases, key=call_of), key=call_of):
            group = list(group)
            with tempfile.TemporaryDirectory() as folder:
                quantized = pathlib.Path(folder) / "q.safetensors"
                if group[0].input is None:
                    self.write_quantized(group, quantized)
                else:
                    compared += self.compare_quantized(group, quantized, more)
                if group[0].dequantized:
                    compared += self.compare_dequantized(group, quantized, more)
        return compared

    def compare_quantized(self, group, quantized, more):
        source, params = quantized.with_name("in.safetensors"), quantized.with_name("params.json")
        write_safetensors(source, {case.key: case.input for case in group})
        params.write_text(json.dumps({case.key: case.statistics for case in group}))
        settings = [word for name, value in group[0].overrides.items() for word in ("--set", f"{name}={value}")]
        self.run_quantctl("quantize", source, quantized, "--scheme", group[0].preset, *settings, "--params", params, *more)
        made = read_safetensors(quantized.read_bytes())[0]
        compared = 0
        for case in group:
            for name, expected in case.segments.items():
                self.assertEqual(made[f"{case.key}.{name}"][2], expected, f"{case.key}.{name}")
                compared += len(expected)
        self.assertEqual(len(made), sum(len(case.segments) for case in group), "a segment that no library has")
        return compared

    def compare_dequantized(self, group, quantized, more):
        back = quantized.with_name("out.safetensors")
        self.run_quantctl("dequantize", quantized, back, "--dtype", FLOAT_NAMES[group[0].dequantized[0]], *more)
        restored = read_safetensors(back.read_bytes())[0]
        for case in group:
            self.assertEqual(restored[case.key][2], case.dequantized[2], f"{case.key} dequantized")
        return sum(len(case.dequantized[2]) for case in group)

    def write_quantized(self, group, path):
        """As if quantctl had quantized them."""
        tensors, described = {}, {}
        for case in group:
            shape = case.dequantized[1]
            for name, data in case.segments.items():
                tensors[f"{case.key}.{name}"] = (self.dtype_of_codes(case.preset), shape, data)
            scheme = {"preset": case.preset, "overrides": case.overrides, "format_revision": 1}
            described[case.key] = {"scheme": scheme, "dtype": "float32", "shape": shape}
        write_safetensors(path, tensors, {"quantd": json.dumps({"version": 1, "tensors": described})})

    @staticmethod
    def dtype_of_codes(preset):
        return {"fp8-e4m3": "F8_E4M3", "fp8-e5m2": "F8_E5M2"}[preset]

    def every_file(self, more, where):
        total = 0
        for name in golden_cases.FILES:
            with self.subTest(name):
                cases = cases_of(name)
                compared = self.compare(cases, more)
                print(f"{name}: {len(cases)} cases, {compared} bytes equal, {where}", flush=True)
                total += compared
        self.assertGreater(total, 10_000_000)

    def test_every_file_on_every_cpu_target(self):
        info = json.loads(self.run_quantctl("info", "--json"))
        tried = []
        for target in CPU_TARGETS:
            done = subprocess.run([QUANTCTL, "info", "--json", "--cpu-target", target], capture_output=True, text=True)
            if done.returncode != 0:
                self.assertIn("scalar", done.stdout + done.stderr, "the error lists what this processor has")
                continue
            self.assertEqual(json.loads(done.stdout)["cpu_target"], target)
            self.every_file(["--cpu-target", target], f"embedded, {target}")
            tried.append(target)
        self.assertEqual(tried[0], "scalar")
        self.assertEqual(tried[-1], info["cpu_target"], "the best is the default")

    def test_every_file_over_tcp(self):
        self.every_file(["--address", self.address], "TCP")

    def in_messages(self, name, sizes, messages_max):
        # One byte a message makes a message of each byte: only tensors of up to messages_max bytes go that way.
        for message_bytes in sizes:
            cases = [case for case in cases_of(name) if len(case.input[2]) <= messages_max * message_bytes]
            for where in ([], ["--address", self.address]):
                compared = self.compare(cases, ["--message-bytes", message_bytes, *where])
                print(f"{name}: {compared} bytes equal in messages of {message_bytes}, {'TCP' if where else 'embedded'}", flush=True)
                self.assertGreater(compared, 10_000)

    def test_messages_of_every_size(self):
        self.in_messages("bnb_4bit", MESSAGE_BYTES, messages_max=10_000)
        self.in_messages("compressed_tensors", [777], messages_max=70_000)

    def test_messages_of_every_size_with_a_known_offset(self):
        self.in_messages("bnb_double_quant", MESSAGE_BYTES, messages_max=70_000)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]])
