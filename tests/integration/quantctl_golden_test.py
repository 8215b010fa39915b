"""bitsandbytes' golden vectors through quantctl: files in, files out, messages of every size, embedded and over TCP."""

import json
import lzma
import pathlib
import signal
import struct
import subprocess
import sys
import tempfile
import unittest

QUANTCTL, QUANTD = sys.argv[1:3]
GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"
MESSAGE_BYTES = [1, 777, 1 << 20, (4 << 20) - (64 << 10)]


def read_safetensors(data):
    """{name: (dtype, shape, bytes)} and the metadata."""
    length = struct.unpack_from("<Q", data)[0]
    header = json.loads(data[8 : 8 + length])
    metadata = header.pop("__metadata__", {})
    body = data[8 + length :]
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensors[name] = (entry["dtype"], entry["shape"], body[begin:end])
    return tensors, metadata


def write_safetensors(path, tensors):
    header, body = {}, b""
    # Wider types first, so that everything is aligned.
    for name, (dtype, shape, data) in sorted(tensors.items(), key=lambda item: (item[1][0] != "F32", item[0])):
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def golden(name):
    tensors, metadata = read_safetensors(lzma.open(GOLDEN / f"{name}.safetensors.xz").read())
    return tensors, json.loads(metadata["cases"])


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

    def compare(self, cases, tensors, options, segments, messages_max, message_bytes, address):
        """Quantizes the cases' inputs, compares every segment, dequantizes, compares again. Returns the bytes compared."""
        cases = [case for case in cases if len(tensors[case["key"] + ".input"][2]) <= messages_max * message_bytes]
        if not cases:
            return 0
        where = ["--address", address] if address else []
        with tempfile.TemporaryDirectory() as folder:
            source, quantized, back = (pathlib.Path(folder) / name for name in ("in.safetensors", "q.safetensors", "out.safetensors"))
            write_safetensors(source, {case["key"]: tensors[case["key"] + ".input"] for case in cases})
            if "offset" in cases[0]:
                params = pathlib.Path(folder) / "params.json"
                params.write_text(json.dumps({case["key"]: {"offset": case["offset"]} for case in cases}))
                options = [*options, "--params", params]
            self.run_quantctl("quantize", source, quantized, *options, "--message-bytes", message_bytes, *where)
            self.run_quantctl("dequantize", quantized, back, "--message-bytes", message_bytes, *where)
            made = read_safetensors(quantized.read_bytes())[0]
            restored = read_safetensors(back.read_bytes())[0]
        compared = 0
        for case in cases:
            key = case["key"]
            for ours, theirs in segments.items():
                expected = tensors[f"{key}.{theirs}"][2]
                self.assertEqual(made[f"{key}.{ours}"][2], expected, f"{key}.{ours}")
                compared += len(expected)
            self.assertEqual(restored[key][2], tensors[f"{key}.dequantized"][2], f"{key} dequantized")
            compared += len(restored[key][2])
        return compared

    def each_group(self, name, segments, more_options, messages_max):
        # One byte a message makes a message of each byte: only tensors of up to messages_max bytes go that way.
        tensors, cases = golden(name)
        for message_bytes in MESSAGE_BYTES:
            for address in (None, self.address):
                compared = 0
                for scheme, block_size in sorted({(case["format"], case["block_size"]) for case in cases}):
                    group = [case for case in cases if (case["format"], case["block_size"]) == (scheme, block_size)]
                    options = ["--scheme", f"bnb-{scheme}", "--set", f"block_size={block_size}", *more_options]
                    compared += self.compare(group, tensors, options, segments, messages_max, message_bytes, address)
                print(f"{name}: {compared} bytes equal in messages of {message_bytes}, {'TCP' if address else 'embedded'}")
                self.assertGreater(compared, 10_000)

    def test_bnb_4bit(self):
        self.each_group("bnb_4bit", {"codes": "codes", "scales": "absmax"}, [], messages_max=10_000)

    def test_bnb_double_quant(self):
        segments = {"codes": "codes", "scales": "absmax_codes", "nested_scales": "nested_absmax", "offset": "offset"}
        self.each_group("bnb_double_quant", segments, ["--set", "double_quant=true"], messages_max=70_000)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]])
