#include "kernels/scheme/presets.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/format/format_list.h"

namespace quantd {
namespace {

using Values = std::vector<std::string>;

constexpr std::string_view kBitsandbytes = "bitsandbytes 0.50.2 on CUDA";
constexpr std::string_view kCompressedTensors = "compressed-tensors 0.20.0 on CUDA";
constexpr std::string_view kTorchao = "torchao 0.18.0";
constexpr std::string_view kGguf = "gguf 0.19.0";

Values RejectOrSaturate() { return {"reject", "saturate"}; }
Values EveryPolicy() { return {"reject", "saturate", "library"}; }
Values BlockSizes() { return {"32", "64", "128", "256", "512", "1024", "2048", "4096"}; }
Values StrictScaleDtypes() { return {"float32", "float16", "bfloat16", "input"}; }

constexpr std::string_view kGroupConstraint = "columns (the last extent) are a multiple of group_size";

Preset Define(std::string name, Element element, Arithmetic arithmetic, Grouping grouping, std::string summary,
              std::string_view byte_equal_to, std::string error_bound) {
  Preset preset;
  preset.info = {name, std::move(summary), std::string(byte_equal_to), std::move(error_bound), {}, {}};
  preset.defaults = {.preset = std::move(name),
                     .element = element,
                     .grouping = grouping,
                     .block_size = grouping == Grouping::kBlock ? 64u : 0u,
                     .group_size = grouping == Grouping::kGroup ? 128u : 0u,
                     .scale_dtype = ScaleDtype::kFloat32,
                     .arithmetic = arithmetic,
                     .format_revision = 1};
  if (grouping == Grouping::kGroup) preset.info.constraints.emplace_back(kGroupConstraint);
  return preset;
}

void SetDoubleQuant(Preset& preset) {
  preset.defaults.nested_block_size = 256;
  preset.restrictions.push_back({"double_quant", {"false", "true"}, ""});
  preset.restrictions.push_back({"nested_code", {"dynamic8", "e4m3"}, ""});
  preset.restrictions.push_back({"nested_block_size", {"256"}, "the nested blocks of every library have 256 scales"});
}

// ---- bitsandbytes ----

Preset BitsandbytesFourBit(std::string name, Element element, std::string summary, std::string error_bound,
                           std::string why_element) {
  Preset preset = Define(std::move(name), element, Arithmetic::kBitsandbytes, Grouping::kBlock, std::move(summary),
                         kBitsandbytes, std::move(error_bound));
  preset.restrictions = {{"element", {std::string(InfoOf(element).name)}, std::move(why_element)},
                         {"block_size", BlockSizes(), ""},
                         {"arithmetic",
                          {"bitsandbytes"},
                          "the preset's bytes are those of bitsandbytes; the preset nf4 has strict arithmetic"},
                         {"nonfinite", EveryPolicy(), ""}};
  SetDoubleQuant(preset);
  return preset;
}

Preset BitsandbytesDynamic8() {
  Preset preset =
      Define("bnb-dynamic8", Element::kDynamic8, Arithmetic::kBitsandbytes, Grouping::kBlock,
             "Dynamic 8-bit code with one absmax per block, as bitsandbytes' optimizers store their states.",
             kBitsandbytes, "0.0071 · absmax of the block");
  preset.defaults.block_size = 256;
  preset.restrictions = {{"block_size", BlockSizes(), ""}, {"nonfinite", EveryPolicy(), ""}};
  return preset;
}

Preset BitsandbytesInt8() {
  Preset preset =
      Define("bnb-int8", Element::kInt8, Arithmetic::kBitsandbytes, Grouping::kChannel,
             "LLM.int8: one absmax per row. float16 as bitsandbytes; bfloat16 and float32 by the same formula "
             "without the library's detour through float16.",
             "bitsandbytes 0.50.2 on CUDA, for float16", "absmax of the row / 254");
  preset.restrictions = {{"nonfinite", EveryPolicy(), ""}};
  return preset;
}

// ---- strict ----

// Groupings and scales are free. `grouping` is the default.
Preset Strict(std::string name, Element element, Grouping grouping, std::string summary, std::string error_bound) {
  Preset preset =
      Define(std::move(name), element, Arithmetic::kStrict, grouping, std::move(summary), "", std::move(error_bound));
  preset.defaults.block_size = 64;
  preset.defaults.group_size = 128;
  preset.defaults.tile_rows = 128;
  preset.defaults.tile_cols = 128;
  const Values sizes = {"16", "32", "64", "128", "256", "512", "1024", "2048", "4096"};
  preset.restrictions = {{"grouping", {"tensor", "channel", "block", "group", "tile"}, ""},
                         {"block_size", sizes, ""},
                         {"group_size", sizes, ""},
                         {"tile_rows", {"16", "32", "64", "128", "256"}, ""},
                         {"tile_cols", {"16", "32", "64", "128", "256"}, ""},
                         {"scale_dtype", StrictScaleDtypes(), ""},
                         {"nonfinite", RejectOrSaturate(),
                          "the element has no code for NaN or infinity, and strict arithmetic follows no library"},
                         {"arithmetic", {"strict"}, "presets that begin with a library's name have its arithmetic"}};
  return preset;
}

Preset StrictNf4() {
  Preset preset = Strict("nf4", Element::kNf4, Grouping::kBlock,
                         "4-bit NormalFloat with one absmax per block in IEEE arithmetic: division, subnormals kept.",
                         "0.152 · absmax of the block");
  preset.restrictions.push_back({"element", {"nf4"}, "the preset bnb-fp4 has fp4_bnb"});
  SetDoubleQuant(preset);
  return preset;
}

Preset StrictInteger(std::string name, Element element, Grouping grouping, bool symmetric, std::string summary,
                     std::string error_bound) {
  Preset preset = Strict(std::move(name), element, grouping, std::move(summary), std::move(error_bound));
  preset.defaults.symmetric = symmetric;
  preset.restrictions.push_back({"element", {"int2", "int3", "int4", "int5", "int6", "int7", "int8"}, ""});
  preset.restrictions.push_back({"range", {"minmax", "mse"}, ""});
  if (grouping == Grouping::kGroup) preset.info.constraints = {std::string(kGroupConstraint)};
  return preset;
}

Preset StrictFp8(std::string name, Element element, std::string summary, std::string error_bound) {
  Preset preset = Strict(std::move(name), element, Grouping::kTensor, std::move(summary), std::move(error_bound));
  for (Restriction& restriction : preset.restrictions) {
    if (restriction.field == "grouping") restriction.values.insert(restriction.values.begin(), "none");
    if (restriction.field == "scale_dtype") restriction.values.insert(restriction.values.begin(), "none");
    if (restriction.field == "nonfinite") restriction.values = EveryPolicy();
  }
  preset.restrictions.push_back({"overflow", {"saturate", "ieee"}, ""});
  return preset;
}

Preset Cast(std::string name, Element element, std::string summary, std::string error_bound) {
  Preset preset = Define(std::move(name), element, Arithmetic::kStrict, Grouping::kNone, std::move(summary),
                         "IEEE 754 round to nearest even", std::move(error_bound));
  preset.defaults.scale_dtype = ScaleDtype::kNone;
  preset.restrictions = {{"nonfinite", EveryPolicy(), ""}};
  return preset;
}

// ---- torchao ----

Preset Mx(std::string name, Element element, std::string summary, std::string error_bound) {
  Preset preset = Define(std::move(name), element, Arithmetic::kTorchao, Grouping::kGroup, std::move(summary), kTorchao,
                         std::move(error_bound));
  preset.defaults.group_size = 32;
  preset.defaults.scale_dtype = ScaleDtype::kE8m0;
  preset.restrictions = {{"group_size", {"32"}, "the OCP MX formats have groups of 32"},
                         {"scale_rule", {"floor", "ceil", "even", "rceil"}, ""},
                         {"nonfinite", EveryPolicy(), ""}};
  return preset;
}

// ---- compressed-tensors ----

Preset CompressedTensors(std::string name, Element element, Grouping grouping, std::string summary,
                         std::string error_bound) {
  Preset preset = Define(std::move(name), element, Arithmetic::kCompressedTensors, grouping, std::move(summary),
                         kCompressedTensors, std::move(error_bound));
  preset.defaults.scale_dtype = ScaleDtype::kInput;
  preset.restrictions = {
      {"scale_dtype", {"input", "float32", "float16", "bfloat16"}, "loaders expect the weight's own"},
      {"nonfinite", RejectOrSaturate(), "the library's bytes for NaN and infinity are undefined"}};
  return preset;
}

Preset CompressedTensorsPacked(std::string name, Element element, bool symmetric, std::string summary,
                               std::string error_bound) {
  Preset preset =
      CompressedTensors(std::move(name), element, Grouping::kGroup, std::move(summary), std::move(error_bound));
  preset.defaults.symmetric = symmetric;
  preset.restrictions.push_back({"group_size", {"32", "64", "128", "256"}, ""});
  return preset;
}

Preset CompressedTensorsTile() {
  Preset preset = CompressedTensors("ct-fp8-block", Element::kFp8E4m3, Grouping::kTile,
                                    "FP8 E4M3 with one scale per 128×128 tile, as FP8_BLOCK.",
                                    "the larger of |x| / 16 and scale / 1024");
  preset.defaults.tile_rows = 128;
  preset.defaults.tile_cols = 128;
  return preset;
}

Preset CompressedTensorsFixedScale(std::string name, Element element, uint32_t group_size, ScaleDtype scale_dtype,
                                   std::string summary, std::string error_bound) {
  Preset preset =
      CompressedTensors(std::move(name), element, Grouping::kGroup, std::move(summary), std::move(error_bound));
  preset.defaults.group_size = group_size;
  preset.defaults.scale_dtype = scale_dtype;
  preset.restrictions.erase(preset.restrictions.begin());  // of scale_dtype
  return preset;
}

// ---- ggml ----

Preset Ggml(std::string name, Element element, bool symmetric, std::string summary, std::string error_bound) {
  Preset preset = Define(std::move(name), element, Arithmetic::kGgml, Grouping::kGroup, std::move(summary), kGguf,
                         std::move(error_bound));
  preset.defaults.group_size = 32;
  preset.defaults.symmetric = symmetric;
  preset.defaults.scale_dtype = ScaleDtype::kFloat16;
  preset.restrictions = {{"group_size", {"32"}, "ggml's blocks have 32 elements"},
                         {"nonfinite", RejectOrSaturate(), "the library's bytes for NaN and infinity are undefined"}};
  return preset;
}

std::vector<Preset> MakePresets() {
  return {
      BitsandbytesFourBit("bnb-nf4", Element::kNf4, "4-bit NormalFloat with one absmax per block, as bitsandbytes.",
                          "0.152 · absmax of the block", "the preset bnb-fp4 has fp4_bnb"),
      BitsandbytesFourBit("bnb-fp4", Element::kFp4Bnb,
                          "4-bit float with one absmax per block, in bitsandbytes' own code.",
                          "0.167 · absmax of the block", "the preset bnb-nf4 has nf4"),
      BitsandbytesDynamic8(),
      BitsandbytesInt8(),
      CompressedTensors("ct-w8a8", Element::kInt8, Grouping::kChannel, "int8 with one scale per row, as W8A8.",
                        "absmax of the row / 254; / 226 with float16 scales"),
      CompressedTensorsPacked("ct-w4a16", Element::kInt4, true, "int4 in 32-bit words, one scale per group, as W4A16.",
                              "absmax of the group / 14"),
      CompressedTensorsPacked("ct-w4a16-asym", Element::kInt4, false,
                              "int4 in 32-bit words with scale and zero point per group, as W4A16_ASYM.",
                              "range of the group, 0 included, / 30; / 28 with float16 scales, / 22 with bfloat16"),
      CompressedTensorsPacked("ct-w3a16", Element::kInt3, true, "int3 in 32-bit words, one scale per group, as W3A16.",
                              "absmax of the group / 6.8"),
      CompressedTensorsPacked("ct-w8a16", Element::kInt8, true, "int8 in 32-bit words, one scale per group, as W8A16.",
                              "absmax of the group / 254; / 226 with float16 scales"),
      CompressedTensors("ct-fp8", Element::kFp8E4m3, Grouping::kTensor, "FP8 E4M3 with one scale per tensor, as FP8.",
                        "the larger of |x| / 16 and scale / 1024"),
      CompressedTensors("ct-fp8-dynamic", Element::kFp8E4m3, Grouping::kChannel,
                        "FP8 E4M3 with one scale per row, as FP8_DYNAMIC.", "the larger of |x| / 16 and scale / 1024"),
      CompressedTensorsTile(),
      CompressedTensorsFixedScale(
          "ct-nvfp4", Element::kFp4E2m1, 16, ScaleDtype::kE4m3,
          "FP4 E2M1 in groups of 16 with E4M3 scales and one float32 scale per tensor, as NVFP4A16.",
          "0.18 · absmax of the group, where its scale is a normal E4M3 number"),
      CompressedTensorsFixedScale("ct-mxfp4", Element::kFp4E2m1, 32, ScaleDtype::kE8m0,
                                  "FP4 E2M1 in groups of 32 with power-of-two scales, as MXFP4A16.",
                                  "0.2 · absmax of the group"),
      CompressedTensorsFixedScale("ct-mxfp8", Element::kFp8E4m3, 32, ScaleDtype::kE8m0,
                                  "FP8 E4M3 in groups of 32 with power-of-two scales, as MXFP8A16.",
                                  "the larger of |x| / 16 and scale / 1024"),
      Mx("mxfp4", Element::kFp4E2m1, "OCP MXFP4: FP4 E2M1 in groups of 32 with power-of-two scales, as torchao.",
         "0.2 · absmax of the group; 0.25 with scale_rule floor"),
      Mx("mxfp8-e4m3", Element::kFp8E4m3, "OCP MXFP8: FP8 E4M3 in groups of 32 with power-of-two scales, as torchao.",
         "the larger of |x| / 16 and scale / 1024; |x| / 8 where scale_rule floor clips, |x| / 10 where even does"),
      Mx("mxfp8-e5m2", Element::kFp8E5m2, "OCP MXFP8: FP8 E5M2 in groups of 32 with power-of-two scales, as torchao.",
         "the larger of |x| / 8 and scale / 131072"),
      StrictNf4(),
      StrictInteger("int8", Element::kInt8, Grouping::kChannel, true, "Symmetric int8, one scale per row.",
                    "scale / 2"),
      StrictInteger("int4", Element::kInt4, Grouping::kGroup, true, "Symmetric int4, one scale per group of a row.",
                    "scale / 2"),
      StrictInteger("int8-asym", Element::kInt8, Grouping::kChannel, false, "int8 with scale and zero point per row.",
                    "scale / 2"),
      StrictInteger("int4-asym", Element::kInt4, Grouping::kGroup, false,
                    "int4 with scale and zero point per group of a row.", "scale / 2"),
      StrictFp8("fp8-e4m3", Element::kFp8E4m3, "FP8 E4M3 with one scale per tensor; scale_dtype=none only casts.",
                "the larger of |x| / 16 and scale / 1024"),
      StrictFp8("fp8-e5m2", Element::kFp8E5m2, "FP8 E5M2 with one scale per tensor; scale_dtype=none only casts.",
                "the larger of |x| / 8 and scale / 131072"),
      Strict("fp4-e2m1", Element::kFp4E2m1, Grouping::kBlock, "FP4 E2M1 with one float scale per block.",
             "absmax of the block / 6"),
      Strict("fp4-e3m0", Element::kFp4E3m0, Grouping::kBlock,
             "FP4 E3M0, powers of two, with one float scale per block.",
             "the larger of |x| / 3 and absmax of the block / 128"),
      Ggml("ggml-q4_0", Element::kInt4, true, "ggml Q4_0 blocks.", "absmax of the group / 7.9"),
      Ggml("ggml-q4_1", Element::kInt4, false, "ggml Q4_1 blocks, with a minimum.",
           "range of the group / 30 + (range + |minimum|) / 2048"),
      Ggml("ggml-q5_0", Element::kInt5, true, "ggml Q5_0 blocks.", "absmax of the group / 15.8"),
      Ggml("ggml-q5_1", Element::kInt5, false, "ggml Q5_1 blocks, with a minimum.",
           "range of the group / 62 + (range + |minimum|) / 2048"),
      Ggml("ggml-q8_0", Element::kInt8, true, "ggml Q8_0 blocks.", "absmax of the group / 226"),
      Cast("bf16", Element::kBFloat16, "A cast to bfloat16.", "|x| / 256"),
      Cast("fp16", Element::kFloat16, "A cast to float16.", "the larger of |x| / 2048 and 2^-25, below 65520"),
  };
}

}  // namespace

const std::vector<Preset>& AllPresetDefinitions() {
  static const std::vector<Preset> presets = MakePresets();
  return presets;
}

}  // namespace quantd
