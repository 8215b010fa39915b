"""What SmoothQuant gains on a real model: all-MiniLM-L6-v2's activations on real sentences, its own weights.

Runs the model with transformers, keeps the input of every linear layer of the encoder, lets `quantctl smooth` report the
error of X W with int8 activations and weights before and after, and checks its factors and errors against torch.

usage: smooth_minilm.py QUANTCTL MODEL_FOLDER
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel, BertTokenizerFast

SENTENCES = [line for line in __doc__.splitlines() if line.strip()] + [
    "The quick brown fox jumps over the lazy dog.",
    "Quantization maps numbers of many bits to numbers of few, and back again with an error that has a bound.",
    "In 1969 two people walked on the moon while a third stayed in orbit and nobody saw him.",
    "SELECT name, COUNT(*) FROM tensors GROUP BY dtype HAVING COUNT(*) > 3;",
    "Der Ofen ist noch warm, aber das Brot ist schon kalt.",
]


def activations_of(folder, weights):
    model = BertModel(BertConfig.from_json_file(folder / "config.json"), add_pooling_layer=False)
    model.load_state_dict({name.removeprefix("bert."): value for name, value in weights.items()}, strict=False)
    model.eval()
    inputs = {}

    def keep(name):
        def hook(_, args):
            inputs.setdefault(name, []).append(args[0].reshape(-1, args[0].shape[-1]).clone())

        return hook

    for name, module in model.named_modules():
        if name.startswith("encoder.") and isinstance(module, torch.nn.Linear):
            module.register_forward_pre_hook(keep(name))
    tokenizer = BertTokenizerFast(vocab_file=str(folder / "vocab.txt"))
    with torch.no_grad():
        for sentence in SENTENCES:
            model(**tokenizer(sentence, return_tensors="pt"))
    return {name: torch.cat(parts) for name, parts in inputs.items()}


def fake_int8(values, dim):
    scale = values.abs().amax(dim=dim, keepdim=True) / 127
    return torch.where(scale > 0, torch.round(values / scale).clamp(-128, 127) * scale, values)


def relative_error(x, w, x_dim, w_dim):
    exact = x.double() @ w.double().T
    return ((fake_int8(x, x_dim).double() @ fake_int8(w, w_dim).double().T - exact).norm() / exact.norm()).item()


def main():
    quantctl, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    weights = load_file(folder / "model.safetensors")
    inputs = activations_of(folder, weights)
    with tempfile.TemporaryDirectory() as scratch:
        path = str(pathlib.Path(scratch) / "activations.safetensors")
        save_file(inputs, path)
        print(f"{'layer':42} {'outlier':>8} | per tensor × tensor: before  after  ratio | per token × channel: before  after  ratio")
        ratios = []
        for name, x in inputs.items():
            done = subprocess.run([quantctl, "smooth", str(folder / "model.safetensors"), "--weight", name + ".weight",
                                   "--activations", path, "--activation", name, "--report-tokens", "65536", "--json"],
                                  capture_output=True, text=True, check=False)
            if done.returncode != 0:
                sys.exit(done.stderr + done.stdout)
            report = json.loads(done.stdout)
            effects = {(e["activation_scales"], e["weight_scales"]): e for e in report["weights"][0]["effects"]}
            w = weights[name + ".weight"]
            s = (x.abs().amax(0).double() / w.abs().amax(0).double().clamp(min=1e-5)).sqrt().float().clamp(1e-5, 1e5)
            torch.testing.assert_close(torch.tensor(report["factors"]), s, rtol=1e-6, atol=0)
            tensor, channel = effects["per tensor", "per tensor"], effects["per token", "per channel"]
            for effect, dims in ((tensor, (None, None)), (channel, (1, 1))):
                dims = [tuple(range(2)) if d is None else d for d in dims]
                expected = relative_error(x, w, *dims), relative_error(x / s, w * s, *dims)
                got = effect["relative_error_before"], effect["relative_error_after"]
                for a, b in zip(got, expected):
                    assert abs(a - b) <= 0.02 * b, (name, got, expected)
            ratios.append(tensor["relative_error_before"] / tensor["relative_error_after"])
            outlier = (x.abs().amax() / x.abs().amax(0).median()).item()
            row = f"{name:42} {outlier:8.1f} |"
            for effect, width in ((tensor, 30), (channel, 29)):
                before, after = effect["relative_error_before"], effect["relative_error_after"]
                row += f"{before:{width - 14}.4f} {after:6.4f} {before / after:6.2f} |"
            print(row)
    ratios.sort()
    print(f"{len(ratios)} layers, per tensor: error before / after from {ratios[0]:.2f} to {ratios[-1]:.2f}, median {ratios[len(ratios) // 2]:.2f}")


if __name__ == "__main__":
    main()
