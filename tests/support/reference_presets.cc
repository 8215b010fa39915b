#include "tests/support/reference_presets.h"

namespace quantd::testing {
namespace {

using Overrides = std::map<std::string, std::string>;

Overrides Bitsandbytes(const std::string& element, const std::string& block_size) {
  return {{"arithmetic", "bitsandbytes"}, {"element", element},        {"grouping", "block"},
          {"block_size", block_size},     {"scale_dtype", "float32"},  {"double_quant", "false"},
          {"nested_code", "dynamic8"},    {"nested_block_size", "256"}};
}

Overrides Strict(const std::string& element, const std::string& grouping, bool symmetric = true) {
  return {{"arithmetic", "strict"},    {"element", element},         {"grouping", grouping},
          {"block_size", "64"},        {"group_size", "128"},        {"tile_rows", "128"},
          {"tile_cols", "128"},        {"scale_dtype", "float32"},   {"double_quant", "false"},
          {"nested_code", "dynamic8"}, {"nested_block_size", "256"}, {"symmetric", symmetric ? "true" : "false"},
          {"overflow", "saturate"}};
}

Overrides Cast(const std::string& element) {
  return {{"arithmetic", "strict"}, {"element", element}, {"grouping", "none"}, {"scale_dtype", "none"}};
}

Overrides Torchao(const std::string& element) {
  return {{"arithmetic", "torchao"}, {"element", element},    {"grouping", "group"},
          {"group_size", "32"},      {"scale_dtype", "e8m0"}, {"scale_rule", "floor"}};
}

Overrides CompressedTensors(const std::string& element, const std::string& grouping, Overrides rest = {}) {
  rest.insert({{"arithmetic", "compressed_tensors"},
               {"element", element},
               {"grouping", grouping},
               {"scale_dtype", "input"},
               {"symmetric", "true"}});
  return rest;
}

Overrides Ggml(const std::string& element, bool symmetric) {
  return {{"arithmetic", "ggml"},
          {"element", element},
          {"grouping", "group"},
          {"group_size", "32"},
          {"symmetric", symmetric ? "true" : "false"}};
}

const std::map<std::string, Overrides>& Presets() {
  static const std::map<std::string, Overrides> presets = {
      {"bnb-nf4", Bitsandbytes("nf4", "64")},
      {"bnb-fp4", Bitsandbytes("fp4_bnb", "64")},
      {"bnb-dynamic8", Bitsandbytes("dynamic8", "256")},
      {"bnb-int8", {{"arithmetic", "bitsandbytes"}, {"element", "int8"}, {"grouping", "channel"}}},
      {"nf4", Strict("nf4", "block")},
      {"fp4-e2m1", Strict("fp4_e2m1", "block")},
      {"fp4-e3m0", Strict("fp4_e3m0", "block")},
      {"int8", Strict("int8", "channel")},
      {"int4", Strict("int4", "group")},
      {"int8-asym", Strict("int8", "channel", false)},
      {"int4-asym", Strict("int4", "group", false)},
      {"fp8-e4m3", Strict("fp8_e4m3", "tensor")},
      {"fp8-e5m2", Strict("fp8_e5m2", "tensor")},
      {"mxfp4", Torchao("fp4_e2m1")},
      {"mxfp8-e4m3", Torchao("fp8_e4m3")},
      {"mxfp8-e5m2", Torchao("fp8_e5m2")},
      {"ct-w8a8", CompressedTensors("int8", "channel")},
      {"ct-w4a16", CompressedTensors("int4", "group", {{"group_size", "128"}})},
      {"ct-w3a16", CompressedTensors("int3", "group", {{"group_size", "128"}})},
      {"ct-w8a16", CompressedTensors("int8", "group", {{"group_size", "128"}})},
      {"ct-w4a16-asym", CompressedTensors("int4", "group", {{"group_size", "128"}, {"symmetric", "false"}})},
      {"ct-fp8", CompressedTensors("fp8_e4m3", "tensor")},
      {"ct-fp8-dynamic", CompressedTensors("fp8_e4m3", "channel")},
      {"ct-fp8-block", CompressedTensors("fp8_e4m3", "tile", {{"tile_rows", "128"}, {"tile_cols", "128"}})},
      {"ct-nvfp4", CompressedTensors("fp4_e2m1", "group", {{"group_size", "16"}, {"scale_dtype", "e4m3"}})},
      {"ct-mxfp4", CompressedTensors("fp4_e2m1", "group", {{"group_size", "32"}, {"scale_dtype", "e8m0"}})},
      {"ct-mxfp8", CompressedTensors("fp8_e4m3", "group", {{"group_size", "32"}, {"scale_dtype", "e8m0"}})},
      {"ggml-q4_0", Ggml("int4", true)},
      {"ggml-q4_1", Ggml("int4", false)},
      {"ggml-q5_0", Ggml("int5", true)},
      {"ggml-q5_1", Ggml("int5", false)},
      {"ggml-q8_0", Ggml("int8", true)},
      {"bf16", Cast("bf16")},
      {"fp16", Cast("fp16")},
  };
  return presets;
}

}  // namespace

Overrides ReferencePreset(const std::string& preset, const Overrides& overrides) {
  Overrides resolved = Presets().at(preset);
  for (const auto& [name, value] : overrides) resolved[name] = value;
  resolved.insert({"nonfinite", "reject"});
  return resolved;
}

std::vector<std::string> ReferencePresetNames() {
  std::vector<std::string> names;
  for (const auto& [name, unused] : Presets()) names.push_back(name);
  return names;
}

}  // namespace quantd::testing
