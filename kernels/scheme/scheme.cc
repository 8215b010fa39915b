#include "kernels/scheme/scheme.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "kernels/base/status_macros.h"
#include "kernels/format/format_list.h"
#include "kernels/scheme/ggml_layout.h"
#include "kernels/scheme/override_fields.h"
#include "kernels/scheme/presets.h"
#include "kernels/scheme/recipe.h"

namespace quantd {
namespace {

const Restriction* RestrictionOf(const Preset& preset, std::string_view field) {
  for (const Restriction& restriction : preset.restrictions) {
    if (restriction.field == field) return &restriction;
  }
  return nullptr;
}

// Whether a field that no restriction frees tells anything about the preset.
bool DescribesPreset(const Preset& preset, std::string_view field) {
  const Scheme& scheme = preset.defaults;
  if (field == "block_size") return scheme.grouping == Grouping::kBlock;
  if (field == "group_size") return scheme.grouping == Grouping::kGroup;
  if (field == "tile_rows" || field == "tile_cols") return scheme.grouping == Grouping::kTile;
  if (field == "symmetric") return InfoOf(scheme.element).kind == ElementKind::kInteger;
  if (field == "scale_rule") return scheme.arithmetic == Arithmetic::kTorchao;
  if (field == "overflow") return InfoOf(scheme.element).kind == ElementKind::kMiniFloat;
  return field != "range" && field != "nested_code" && field != "nested_block_size" && field != "double_quant";
}

PresetInfo Describe(const Preset& preset) {
  PresetInfo info = preset.info;
  for (const OverrideField& field : AllOverrideFields()) {
    const Restriction* restriction = RestrictionOf(preset, field.name);
    if (restriction == nullptr && !DescribesPreset(preset, field.name)) continue;
    const std::string default_value = field.get(preset.defaults);
    info.overrides.push_back({std::string(field.name),
                              restriction != nullptr ? restriction->values : std::vector{default_value},
                              default_value});
  }
  return info;
}

const std::vector<Preset>& Presets() {
  static const std::vector<Preset> presets = [] {
    std::vector<Preset> described = AllPresetDefinitions();
    for (Preset& preset : described) preset.info = Describe(preset);
    return described;
  }();
  return presets;
}

// Strangers' text in an error message, cut to a length that leaves room for the advice.
std::string Quoted(const std::string& text) {
  constexpr size_t kQuotedBytesMax = 64;
  return text.size() <= kQuotedBytesMax ? absl::StrCat("'", text, "'")
                                        : absl::StrCat("'", text.substr(0, kQuotedBytesMax), "...'");
}

// Why the preset restricts the field, in parentheses; empty if there is nothing to say.
std::string Reason(const Preset& preset, const std::string& field) {
  const Restriction* restriction = RestrictionOf(preset, field);
  return restriction == nullptr || restriction->why.empty() ? "" : absl::StrCat(" (", restriction->why, ")");
}

std::string ValueMessage(const Preset& preset, const OverrideInfo& info, const std::string& value) {
  const std::string why = Reason(preset, info.name);
  return absl::StrCat(preset.info.name, " does not take ", info.name, "=", Quoted(value), why,
                      "; possible: ", absl::StrJoin(info.values, ", "));
}

std::string NameMessage(const Preset& preset, const std::string& name) {
  const std::string why = Reason(preset, name);
  const auto append_name = [](std::string* out, const OverrideInfo& info) { *out += info.name; };
  return absl::StrCat(preset.info.name, " has no override ", Quoted(name), why,
                      "; possible: ", absl::StrJoin(preset.info.overrides, ", ", append_name));
}

absl::Status ApplyOverride(const Preset& preset, const std::string& name, const std::string& value, Scheme& scheme) {
  const auto invalid = [&](const std::string& message) {
    return InvalidArgument(reason::kInvalidOverride, message, {{"override", name.substr(0, 64)}});
  };
  const auto info = std::ranges::find(preset.info.overrides, name, &OverrideInfo::name);
  if (info == preset.info.overrides.end()) return invalid(NameMessage(preset, name));
  if (std::ranges::find(info->values, value) == info->values.end()) return invalid(ValueMessage(preset, *info, value));
  FindOverrideField(name)->set(scheme, value);
  return absl::OkStatus();
}

absl::Status InvalidCombination(std::string_view field, const std::string& message) {
  return InvalidArgument(reason::kInvalidOverride, message, {{"override", std::string(field)}});
}

// What each override allows and all of them together do not.
absl::Status CheckCombination(const Scheme& scheme) {
  if (scheme.double_quant && scheme.grouping != Grouping::kBlock) {
    return InvalidCombination("double_quant",
                              "double quantization is defined for scales of blocks; set grouping=block, or leave "
                              "double_quant out");
  }
  if (scheme.double_quant && scheme.scale_dtype != ScaleDtype::kFloat32) {
    return InvalidCombination("scale_dtype",
                              "double quantization stores the scales itself; leave scale_dtype at float32");
  }
  if ((scheme.scale_dtype == ScaleDtype::kNone) != (scheme.grouping == Grouping::kNone)) {
    return InvalidCombination("grouping", "grouping=none and scale_dtype=none mean the same, a cast; set one or both");
  }
  if (scheme.range == RangeChoice::kMse && scheme.grouping == Grouping::kTensor) {
    return InvalidCombination("range",
                              "range=mse searches each row, block, group or tile while it is at hand. For one range of "
                              "the whole tensor calibrate it, and name method mse in the header's calibration");
  }
  return absl::OkStatus();
}

// grouping=none and scale_dtype=none follow from each other where the caller does not say otherwise.
void CompleteCast(const SchemeRequest& request, Scheme& scheme) {
  if (scheme.scale_dtype == ScaleDtype::kNone && !request.overrides.contains("grouping")) {
    scheme.grouping = Grouping::kNone;
  }
  if (scheme.grouping == Grouping::kNone && !request.overrides.contains("scale_dtype")) {
    scheme.scale_dtype = ScaleDtype::kNone;
  }
}

// Members that mean nothing in the scheme are the same in all equal schemes.
void ClearMeaningless(Scheme& scheme) {
  if (scheme.grouping != Grouping::kBlock) scheme.block_size = 0;
  if (scheme.grouping != Grouping::kGroup) scheme.group_size = 0;
  if (scheme.grouping != Grouping::kTile) scheme.tile_rows = scheme.tile_cols = 0;
}

absl::Status CheckOverridesMatter(const SchemeRequest& request, const Scheme& scheme) {
  for (const auto& [name, value] : request.overrides) {
    const OverrideField& field = *FindOverrideField(name);
    if (field.matters(scheme)) continue;
    return InvalidCombination(name, absl::StrCat(name, " means something only with ", std::string(field.matters_when),
                                                 "; set that too, or leave ", name, " out"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Scheme> ResolveScheme(const SchemeRequest& request) {
  const auto preset = std::ranges::find(Presets(), request.preset, [](const Preset& p) { return p.info.name; });
  if (preset == Presets().end()) {
    const auto append_name = [](std::string* out, const PresetInfo& info) { *out += info.name; };
    return InvalidArgument(reason::kUnknownScheme,
                           absl::StrCat("there is no scheme ", Quoted(request.preset),
                                        "; possible: ", absl::StrJoin(AllPresets(), ", ", append_name)));
  }
  const uint32_t newest = preset->defaults.format_revision;
  if (request.format_revision > newest) {
    return InvalidArgument(
        reason::kUnknownRevision,
        absl::StrCat(request.preset, " revision ", request.format_revision, " is newer than this program, which knows ",
                     newest, "; update it, or leave the revision at 0 for the newest"),
        {{"newest_revision", absl::StrCat(newest)}});
  }
  Scheme scheme = preset->defaults;
  for (const auto& [name, value] : request.overrides) {
    QUANTD_RETURN_IF_ERROR(ApplyOverride(*preset, name, value, scheme));
  }
  CompleteCast(request, scheme);
  QUANTD_RETURN_IF_ERROR(CheckOverridesMatter(request, scheme));
  QUANTD_RETURN_IF_ERROR(CheckCombination(scheme));
  ClearMeaningless(scheme);
  return scheme;
}

SchemeRequest FullyResolved(const Scheme& scheme) {
  SchemeRequest request{scheme.preset, {}, scheme.format_revision};
  const auto preset = std::ranges::find(Presets(), scheme.preset, [](const Preset& p) { return p.info.name; });
  if (preset == Presets().end()) return request;
  for (const OverrideInfo& info : preset->info.overrides) {
    const OverrideField& field = *FindOverrideField(info.name);
    if (field.matters(scheme)) request.overrides[info.name] = field.get(scheme);
  }
  return request;
}

std::span<const PresetInfo> AllPresets() {
  static const std::vector<PresetInfo> infos = [] {
    std::vector<PresetInfo> all;
    for (const Preset& preset : Presets()) all.push_back(preset.info);
    return all;
  }();
  return infos;
}

double BitsPerElement(const Scheme& scheme) {
  constexpr double kFloat32Bits = 32;
  if (scheme.arithmetic == Arithmetic::kGgml) return 8.0 * GgmlBlockBytes(scheme) / kGgmlBlockElements;
  const double code_bits = InfoOf(scheme.element).bits;
  // Of a row or a whole tensor nothing that counts is added in an endless tensor.
  const double run = scheme.grouping == Grouping::kBlock   ? scheme.block_size
                     : scheme.grouping == Grouping::kGroup ? scheme.group_size
                     : scheme.grouping == Grouping::kTile  ? scheme.tile_rows * scheme.tile_cols
                                                           : 0;
  if (run == 0) return code_bits;
  if (scheme.double_quant) return code_bits + (8 + kFloat32Bits / scheme.nested_block_size) / run;
  const Recipe recipe = RecipeOf(scheme, DataType::kBFloat16);
  const double zero_bits = !recipe.has_zero_points ? 0 : recipe.packed_zero_points ? code_bits : 8;
  // compressed-tensors' scales have the type of the weight, which mostly is one of 16 bits.
  const double scale_bits = scheme.scale_dtype == ScaleDtype::kInput ? 16 : 8.0 * SizeBytes(recipe.scale_dtype);
  return code_bits + (scale_bits + zero_bits) / run;
}

}  // namespace quantd
