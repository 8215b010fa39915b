"""Ranges of `quantctl calibrate` beside independent oracles: numpy in float64, torch.quantile, torch's observers, and the
scales that compressed-tensors makes of its own ranges.

Exact: min, max and absmax of every type, and everything of 16-bit types. float32 percentiles: within the stated
resolution of 2^-7. Ranges by mse: their error is within 1 % of the best of a fine grid.

usage: calibrate_oracles.py QUANTCTL
"""

import itertools
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

import numpy
import torch
from compressed_tensors.quantization import QuantizationArgs
from compressed_tensors.quantization.utils import calculate_qparams
from safetensors.torch import load_file, save_file
from torch.ao.quantization.observer import MinMaxObserver, PerChannelMinMaxObserver

QUANTCTL = sys.argv[1]
RESOLUTION = 2.0**-7
DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
PERCENTILES = [75.0, 99.0, 99.9, 99.99]


def samples():
    """By kind and type: what weights and activations look like, with signs that differ and with outliers."""
    random = torch.Generator().manual_seed(20261127)
    normal = torch.randn(160, 256, generator=random)
    outliers = normal.clone()
    outliers[:, ::64] *= 40
    kinds = {
        "normal": normal,
        "outliers": outliers,
        "positive": normal.abs() * 3 + 0.01,
        "shifted": normal * 0.5 - 2,
        "heavy": normal / torch.rand(160, 256, generator=random).clamp(min=0.02),
    }
    return {f"{kind}.{name}": values.to(dtype) for kind, values in kinds.items() for name, dtype in DTYPES.items()}


class Oracles(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.tensors = samples()
        cls.path = str(pathlib.Path(cls.folder.name) / "samples.safetensors")
        save_file(cls.tensors, cls.path)
        cls.qcal = cls.calibrate("samples.qcal")
        cls.channels = cls.calibrate("channels.qcal", "--set", "grouping=channel", "--set", "collect=importance")

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def run_quantctl(cls, *arguments):
        done = subprocess.run([QUANTCTL, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    @classmethod
    def calibrate(cls, name, *arguments):
        path = str(pathlib.Path(cls.folder.name) / name)
        cls.run_quantctl("calibrate", cls.path, "--out", path, *arguments)
        return path

    @classmethod
    def shown(cls, path, method, *arguments):
        text = cls.run_quantctl("calibrate", path, "--show", "--json", "--range-method", method, *arguments)
        return json.loads(text)["tensors"]

    def each(self, shown):
        return [(name, values, shown[name]) for name, values in self.tensors.items()]

    def test_min_max_and_absmax_are_exact(self):
        for name, values, shown in self.each(self.shown(self.qcal, "minmax", "--asymmetric")):
            x = values.double().numpy()
            self.assertEqual(shown["ranges"], [[x.min(), x.max()]], name)
            self.assertEqual(shown["absmax"], numpy.abs(x).max(), name)
            observer = MinMaxObserver()
            observer(values.float())
            self.assertEqual(shown["ranges"], [[observer.min_val.item(), observer.max_val.item()]], name)

    def test_channels_are_those_of_torchs_per_channel_observer(self):
        for name, values, shown in self.each(self.shown(self.channels, "minmax", "--asymmetric")):
            observer = PerChannelMinMaxObserver(ch_axis=1)
            observer(values.float())
            expected = torch.stack([observer.min_val, observer.max_val], dim=1)
            self.assertTrue(torch.equal(torch.tensor(shown["ranges"]), expected), name)

    def test_scales_made_of_the_ranges_are_compressed_tensors_own(self):
        arguments = QuantizationArgs(num_bits=8, symmetric=False, strategy="tensor")
        for name, values, shown in self.each(self.shown(self.qcal, "minmax", "--asymmetric")):
            low, high = (torch.tensor([end], dtype=values.dtype) for end in shown["ranges"][0])
            ours = calculate_qparams(low, high, arguments)
            theirs = calculate_qparams(values.amin().reshape(1), values.amax().reshape(1), arguments)
            for a, b in zip(ours, theirs):
                self.assertTrue(torch.equal(a, b), name)

    def test_percentiles_of_magnitudes_are_numpys_and_torchs(self):
        for percentile in PERCENTILES:
            for name, values, shown in self.each(self.shown(self.qcal, "percentile", "--percentile", str(percentile))):
                low, high = shown["ranges"][0]
                self.assertEqual(low, -high, name)
                self.check(name, high, numpy.abs(values.double().numpy()), percentile / 100)

    def test_percentiles_of_both_ends_are_numpys_and_torchs(self):
        for percentile in PERCENTILES:
            for name, values, shown in self.each(
                    self.shown(self.qcal, "percentile", "--percentile", str(percentile), "--asymmetric")):
                x = values.double().numpy()
                self.check(name, shown["ranges"][0][0], x, (100 - percentile) / 100)
                self.check(name, shown["ranges"][0][1], x, percentile / 100)

    def check(self, name, got, x, quantile):
        flat = x.reshape(-1)
        exact = numpy.quantile(flat, quantile)
        self.assertAlmostEqual(exact, torch.quantile(torch.from_numpy(flat), quantile).item(), delta=1e-12 * abs(exact))
        if name.endswith(".f32"):
            # Between two elements: each of them is within the resolution.
            below, above = numpy.quantile(flat, quantile, method="lower"), numpy.quantile(flat, quantile, method="higher")
            slack = RESOLUTION * max(abs(below), abs(above))
            self.assertLessEqual(below - slack, got, name)
            self.assertGreaterEqual(above + slack, got, name)
        else:
            self.assertEqual(got, numpy.float32(exact), name)

    def test_mse_is_within_one_percent_of_a_fine_grid(self):
        for element, symmetric in itertools.product(("int8", "int4"), (True, False)):
            bits = int(element[3:])
            flags = ["--target", element] + ([] if symmetric else ["--asymmetric"])
            for name, values, shown in self.each(self.shown(self.qcal, "mse", *flags)):
                x = values.double().numpy().reshape(-1)
                low, high = shown["ranges"][0]
                best = min(self.error(x, a, b, bits, symmetric) for a, b in self.grid(x, symmetric))
                self.assertLessEqual(self.error(x, low, high, bits, symmetric), 1.01 * best, f"{name} {element}")

    @staticmethod
    def grid(x, symmetric):
        if symmetric:
            return [(-end, end) for end in numpy.abs(x).max() * numpy.arange(1000, 5, -1) / 1000]
        ends = numpy.arange(40, 0, -1) / 40
        low, high = min(0.0, x.min()), max(0.0, x.max())
        return [(low * a, high * b) for a in (ends if low < 0 else [1.0]) for b in (ends if high > 0 else [1.0])]

    @staticmethod
    def error(x, low, high, bits, symmetric):
        """docs/formats.md, arithmetic strict, in float64."""
        largest = 2**(bits - 1) - 1
        if symmetric:
            scale, zero, least = max(abs(low), abs(high)) / largest, 0, -largest
        else:
            low, high, least = min(low, 0.0), max(high, 0.0), -largest - 1
            scale = (high / 2 - low / 2) / ((largest - least) / 2) or 1.0
            zero = numpy.clip(numpy.round(least - low / scale), least, largest)
        codes = numpy.clip(numpy.round(x / scale + zero), least, largest)
        return numpy.square((codes - zero) * scale - x).sum()

    def test_moments_of_channels_are_those_of_float64(self):
        """Importance goes into `quantize`: what it weighs must be numpy's E[x^2], rounded once to float32."""
        weights = {name: torch.randn(8, 256, generator=torch.Generator().manual_seed(1)) for name in self.tensors}
        weights_path = str(pathlib.Path(self.folder.name) / "weights.safetensors")
        save_file(weights, weights_path)
        squares_path = str(pathlib.Path(self.folder.name) / "squares.safetensors")
        save_file({name: torch.from_numpy(numpy.square(values.double().numpy()).mean(axis=0)).float()
                   for name, values in self.tensors.items()}, squares_path)
        made = []
        for importance in (self.channels, squares_path):
            out = str(pathlib.Path(self.folder.name) / f"out{len(made)}.safetensors")
            self.run_quantctl("quantize", weights_path, out, "--scheme", "int4", "--set", "range=mse", "--importance", importance)
            made.append(load_file(out))
        for name in made[0]:
            self.assertTrue(torch.equal(made[0][name], made[1][name]), name)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
