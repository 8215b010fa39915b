"""Which of our schemes makes which bytes of tests/golden: tests/support/golden_schemes.cc, for tests of programs."""

import dataclasses
import json
import lzma
import pathlib
import struct

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"

SAFETENSORS_DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
FLOAT_NAMES = {safetensors: name for name, safetensors in SAFETENSORS_DTYPES.items()}


@dataclasses.dataclass
class GoldenCase:
    """One tensor that a library quantized, dequantized, or both. Tensors are (dtype, shape, bytes)."""

    key: str
    preset: str
    overrides: dict = dataclasses.field(default_factory=dict)
    statistics: dict = dataclasses.field(default_factory=dict)
    input: tuple | None = None  # None: the file has only the other direction
    segments: dict = dataclasses.field(default_factory=dict)  # our name -> bytes
    dequantized: tuple | None = None  # None: the file has only the other direction


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


def write_safetensors(path, tensors, metadata=None):
    header, parts, position = {}, [], 0
    if metadata is not None:
        header["__metadata__"] = metadata
    # Wider types first, so that everything is aligned.
    for name, (dtype, shape, data) in sorted(tensors.items(), key=lambda item: (item[1][0] != "F32", item[0])):
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [position, position + len(data)]}
        parts.append(data)
        position += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))


def read_golden(name):
    tensors, metadata = read_safetensors(lzma.open(GOLDEN / f"{name}.safetensors.xz").read())
    return tensors, json.loads(metadata["cases"])


def bitsandbytes_case(tensors, case, overrides):
    presets = {"nf4": "bnb-nf4", "fp4": "bnb-fp4", "dynamic8": "bnb-dynamic8", "llm_int8": "bnb-int8"}
    key, is_int8 = case["key"], case["format"] == "llm_int8"
    if not is_int8:
        overrides = {**overrides, "block_size": str(case["block_size"])}
    segments = {"codes": tensors[f"{key}.codes"][2], "scales": tensors[f"{key}.{'scb' if is_int8 else 'absmax'}"][2]}
    return GoldenCase(key, presets[case["format"]], overrides, {}, tensors[f"{key}.input"], segments, tensors.get(f"{key}.dequantized"))


def bitsandbytes(tensors, cases):
    return [bitsandbytes_case(tensors, case, {}) for case in cases]


def bitsandbytes_special(tensors, cases):
    return [bitsandbytes_case(tensors, case, {"nonfinite": "library"}) for case in cases]


def bitsandbytes_double_quant(tensors, cases):
    found = []
    for case in cases:
        key = case["key"]
        names = {"codes": "codes", "scales": "absmax_codes", "nested_scales": "nested_absmax", "offset": "offset"}
        segments = {ours: tensors[f"{key}.{theirs}"][2] for ours, theirs in names.items()}
        overrides = {"block_size": str(case["block_size"]), "double_quant": "true"}
        statistics = {"offset": case["offset"]}
        preset = "bnb-" + case["format"]
        found.append(GoldenCase(key, preset, overrides, statistics, tensors[f"{key}.input"], segments, tensors[f"{key}.dequantized"]))
    return found


def compressed_tensors(tensors, cases):
    presets = {
        "W8A8": "ct-w8a8",
        "W4A16": "ct-w4a16",
        "W4A16_ASYM": "ct-w4a16-asym",
        "W3A16": "ct-w3a16",
        "W8A16": "ct-w8a16",
        "FP8": "ct-fp8",
        "FP8_BLOCK": "ct-fp8-block",
        "FP8_DYNAMIC": "ct-fp8-dynamic",
        "NVFP4A16": "ct-nvfp4",
        "MXFP4A16": "ct-mxfp4",
        "MXFP8A16": "ct-mxfp8",
    }
    names = {
        "weight": "codes",
        "weight_packed": "codes",
        "weight_scale": "scales",
        "weight_zero_point": "zero_points",
        "weight_shape": "weight_shape",
        "weight_global_scale": "global_scale",
    }
    found = []
    for case in cases:
        if case["device"] != "cuda":
            continue  # not the arithmetic that the ct presets promise
        key = case["key"]
        segments = {ours: tensors[f"{key}.{theirs}"][2] for theirs, ours in names.items() if f"{key}.{theirs}" in tensors}
        found.append(GoldenCase(key, presets[case["preset"]], {}, {}, tensors[case["weight"]], segments, tensors.get(f"{key}.decompressed")))
    return found


def mx(tensors, cases):
    found = []
    for case in cases:
        key = case["key"]
        segments = {"codes": tensors[f"{key}.codes"][2], "scales": tensors[f"{key}.scale"][2]}
        preset = case["format"].replace("_", "-")
        found.append(GoldenCase(key, preset, {"scale_rule": case["scale_rule"]}, {}, tensors[case["input"]], segments))
    return found


def fp8_casts(tensors, cases):
    presets = {"e4m3fn": "fp8-e4m3", "e5m2": "fp8-e5m2"}
    cast = {"scale_dtype": "none", "overflow": "ieee", "nonfinite": "library"}
    patterns_16 = b"".join(struct.pack("<H", pattern) for pattern in range(65536))
    found = []
    for case in cases:
        key = case["key"]
        values = (SAFETENSORS_DTYPES[case["dtype"]], [65536], patterns_16)
        found.append(GoldenCase(key, presets[case["format"]], cast, {}, values, {"codes": tensors[f"{key}.codes"][2]}))
    for name, preset in presets.items():
        found.append(GoldenCase(f"{name}.decoded", preset, cast, {}, None, {"codes": bytes(range(256))}, tensors[f"{name}.decoded"]))
    return found


def ggml(tensors, cases):
    presets = {"BF16": "bf16", "F16": "fp16"}
    found = []
    for case in cases:
        key, name = case["key"], case["format"]
        segment = "codes" if name in presets else "blocks"
        preset = presets.get(name, "ggml-" + name.lower())
        segments = {segment: tensors[f"{key}.blocks"][2]}
        found.append(GoldenCase(key, preset, {}, {}, tensors["gguf.input"], segments, tensors.get(f"{key}.dequantized")))
    return found


# How each file is read, and how many cases it has.
FILES = {
    "bnb_4bit": (bitsandbytes, 156),
    "bnb_8bit": (bitsandbytes, 55),
    "bnb_special": (bitsandbytes_special, 65),
    "bnb_double_quant": (bitsandbytes_double_quant, 24),
    "compressed_tensors": (compressed_tensors, 66),
    "mx": (mx, 24),
    "fp8_casts": (fp8_casts, 6),
    "ggml": (ggml, 7),
}


def cases_of(name):
    read, count = FILES[name]
    cases = read(*read_golden(name))
    assert len(cases) == count, f"{name} has {len(cases)} cases"
    return cases
