#include "tests/support/golden_schemes.h"

#include <cstring>
#include <utility>

namespace quantd::testing {
namespace {

using Overrides = std::map<std::string, std::string>;
using Lister = std::vector<GoldenScheme> (*)(const GoldenFile& file);

constexpr const char* kAllPatterns8 = "every 8-bit pattern";
constexpr const char* kAllPatterns16 = "every 16-bit pattern";

DataType DtypeOf(const GoldenTensor& tensor) { return DataTypeNamed(tensor.dtype).value(); }

// Shape and type of `scheme` as the golden input tensor has them.
GoldenScheme WithInput(const GoldenFile& file, GoldenScheme scheme, const std::string& input) {
  scheme.input = input;
  scheme.shape = file.Tensor(input).shape;
  scheme.dtype = DtypeOf(file.Tensor(input));
  return scheme;
}

GoldenScheme WithDequantized(const GoldenFile& file, GoldenScheme scheme, const std::string& dequantized) {
  if (!file.Has(dequantized)) return scheme;
  scheme.dequantized = dequantized;
  scheme.dequantized_dtype = DtypeOf(file.Tensor(dequantized));
  return scheme;
}

GoldenScheme BitsandbytesScheme(const GoldenFile& file, const GoldenCase& golden, Overrides overrides) {
  static const std::map<std::string, std::string> presets = {
      {"nf4", "bnb-nf4"}, {"fp4", "bnb-fp4"}, {"dynamic8", "bnb-dynamic8"}, {"llm_int8", "bnb-int8"}};
  const std::string& key = golden.key;
  const bool is_int8 = golden.format == "llm_int8";
  if (!is_int8) overrides["block_size"] = std::to_string(golden.block_size);
  GoldenScheme scheme{.key = key, .preset = presets.at(golden.format), .overrides = std::move(overrides)};
  scheme.segments = {{"codes", key + ".codes"}, {"scales", key + (is_int8 ? ".scb" : ".absmax")}};
  return WithDequantized(file, WithInput(file, std::move(scheme), key + ".input"), key + ".dequantized");
}

std::vector<GoldenScheme> Bitsandbytes(const GoldenFile& file) {
  std::vector<GoldenScheme> schemes;
  for (const GoldenCase& golden : file.cases()) schemes.push_back(BitsandbytesScheme(file, golden, {}));
  return schemes;
}

std::vector<GoldenScheme> BitsandbytesSpecial(const GoldenFile& file) {
  std::vector<GoldenScheme> schemes;
  for (const GoldenCase& golden : file.cases()) {
    schemes.push_back(BitsandbytesScheme(file, golden, {{"nonfinite", "library"}}));
  }
  return schemes;
}

// Each case twice: with the scales as they were before they were quantized, and with all of it.
std::vector<GoldenScheme> BitsandbytesDoubleQuant(const GoldenFile& file) {
  std::vector<GoldenScheme> schemes;
  for (const GoldenCase& golden : file.cases()) {
    const std::string& key = golden.key;
    GoldenScheme single = BitsandbytesScheme(file, golden, {});
    single.segments["scales"] = key + ".absmax_f32";
    single.dequantized.clear();
    schemes.push_back(single);

    GoldenScheme nested = BitsandbytesScheme(file, golden, {{"double_quant", "true"}});
    nested.segments["scales"] = key + ".absmax_codes";
    nested.segments["nested_scales"] = key + ".nested_absmax";
    nested.segments["offset"] = key + ".offset";
    float offset;
    std::memcpy(&offset, file.Tensor(key + ".offset").bytes.data(), sizeof(offset));
    nested.known.offset = offset;
    schemes.push_back(nested);
  }
  return schemes;
}

std::vector<GoldenScheme> CompressedTensors(const GoldenFile& file) {
  static const std::map<std::string, std::string> presets = {{"W8A8", "ct-w8a8"},
                                                             {"W4A16", "ct-w4a16"},
                                                             {"W4A16_ASYM", "ct-w4a16-asym"},
                                                             {"W3A16", "ct-w3a16"},
                                                             {"W8A16", "ct-w8a16"},
                                                             {"FP8", "ct-fp8"},
                                                             {"FP8_BLOCK", "ct-fp8-block"},
                                                             {"FP8_DYNAMIC", "ct-fp8-dynamic"},
                                                             {"NVFP4A16", "ct-nvfp4"},
                                                             {"MXFP4A16", "ct-mxfp4"},
                                                             {"MXFP8A16", "ct-mxfp8"}};
  static const std::map<std::string, std::string> segment_names = {{".weight", "codes"},
                                                                   {".weight_packed", "codes"},
                                                                   {".weight_scale", "scales"},
                                                                   {".weight_zero_point", "zero_points"},
                                                                   {".weight_shape", "weight_shape"},
                                                                   {".weight_global_scale", "global_scale"}};
  std::vector<GoldenScheme> schemes;
  for (const GoldenCase& golden : file.cases()) {
    if (golden.fields.at("device") != "cuda") continue;
    GoldenScheme scheme{.key = golden.key, .preset = presets.at(golden.fields.at("preset"))};
    for (const auto& [what, name] : segment_names) {
      if (file.Has(golden.key + what)) scheme.segments[name] = golden.key + what;
    }
    scheme = WithInput(file, std::move(scheme), golden.fields.at("weight"));
    schemes.push_back(WithDequantized(file, std::move(scheme), golden.key + ".decompressed"));
  }
  return schemes;
}

std::vector<GoldenScheme> Mx(const GoldenFile& file) {
  static const std::map<std::string, std::string> presets = {
      {"mxfp4", "mxfp4"}, {"mxfp8_e4m3", "mxfp8-e4m3"}, {"mxfp8_e5m2", "mxfp8-e5m2"}};
  std::vector<GoldenScheme> schemes;
  for (const GoldenCase& golden : file.cases()) {
    GoldenScheme scheme{.key = golden.key,
                        .preset = presets.at(golden.format),
                        .overrides = {{"scale_rule", golden.fields.at("scale_rule")}}};
    scheme.segments = {{"codes", golden.key + ".codes"}, {"scales", golden.key + ".scale"}};
    schemes.push_back(WithInput(file, std::move(scheme), golden.fields.at("input")));
  }
  return schemes;
}

std::vector<GoldenScheme> Fp8Casts(const GoldenFile& file) {
  static const std::map<std::string, std::string> presets = {{"e4m3fn", "fp8-e4m3"}, {"e5m2", "fp8-e5m2"}};
  const Overrides cast = {{"scale_dtype", "none"}, {"overflow", "ieee"}, {"nonfinite", "library"}};
  std::vector<GoldenScheme> schemes;
  for (const GoldenCase& golden : file.cases()) {
    GoldenScheme scheme{.key = golden.key, .preset = presets.at(golden.format), .overrides = cast, .shape = {65536}};
    scheme.dtype = DataTypeNamed(golden.dtype).value();
    scheme.input = kAllPatterns16;
    scheme.segments = {{"codes", golden.key + ".codes"}};
    schemes.push_back(scheme);
  }
  for (const auto& [format, preset] : presets) {
    const std::string decoded = format + ".decoded";
    GoldenScheme scheme{.key = decoded, .preset = preset, .overrides = cast, .shape = {256}};
    scheme.segments = {{"codes", kAllPatterns8}};
    schemes.push_back(WithDequantized(file, std::move(scheme), decoded));
  }
  return schemes;
}

std::vector<GoldenScheme> Ggml(const GoldenFile& file) {
  static const std::map<std::string, std::string> presets = {
      {"Q4_0", "ggml-q4_0"}, {"Q4_1", "ggml-q4_1"}, {"Q5_0", "ggml-q5_0"}, {"Q5_1", "ggml-q5_1"},
      {"Q8_0", "ggml-q8_0"}, {"BF16", "bf16"},      {"F16", "fp16"}};
  std::vector<GoldenScheme> schemes;
  for (const GoldenCase& golden : file.cases()) {
    GoldenScheme scheme{.key = golden.key, .preset = presets.at(golden.format)};
    scheme.segments = {{golden.format.starts_with("Q") ? "blocks" : "codes", golden.key + ".blocks"}};
    scheme = WithInput(file, std::move(scheme), "gguf.input");
    schemes.push_back(WithDequantized(file, std::move(scheme), golden.key + ".dequantized"));
  }
  return schemes;
}

const std::map<std::string, Lister>& Listers() {
  static const std::map<std::string, Lister> listers = {
      {"bnb_4bit", Bitsandbytes},
      {"bnb_8bit", Bitsandbytes},
      {"bnb_double_quant", BitsandbytesDoubleQuant},
      {"bnb_special", BitsandbytesSpecial},
      {"compressed_tensors", CompressedTensors},
      {"fp8_casts", Fp8Casts},
      {"ggml", Ggml},
      {"mx", Mx},
  };
  return listers;
}

}  // namespace

std::vector<GoldenScheme> GoldenSchemesOf(const GoldenFile& file, const std::string& file_name) {
  return Listers().at(file_name)(file);
}

Bytes GoldenBytes(const GoldenFile& file, const std::string& tensor) {
  Bytes patterns;
  if (tensor == kAllPatterns8) {
    for (int pattern = 0; pattern < 256; ++pattern) patterns.push_back(static_cast<std::byte>(pattern));
    return patterns;
  }
  if (tensor == kAllPatterns16) {
    for (int pattern = 0; pattern < 65536; ++pattern) {
      patterns.push_back(static_cast<std::byte>(pattern % 256));
      patterns.push_back(static_cast<std::byte>(pattern / 256));
    }
    return patterns;
  }
  const GoldenTensor& stored = file.Tensor(tensor);
  return Bytes(stored.bytes.begin(), stored.bytes.end());
}

}  // namespace quantd::testing
