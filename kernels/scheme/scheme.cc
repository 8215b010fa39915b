#include "kernels/scheme/scheme.h"

#include <algorithm>
#include <functional>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "kernels/format/format_list.h"

namespace quantd {
namespace {

template <class T>
struct Named {
  std::string_view name;
  T value;
};

constexpr auto kElements = [] {
  std::array<Named<Element>, kFormats.size()> elements{};
  for (size_t i = 0; i < elements.size(); ++i) elements[i] = {kFormats[i].name, kFormats[i].element};
  return elements;
}();
constexpr Named<Grouping> kGroupings[] = {{"block", Grouping::kBlock}};
constexpr Named<uint32_t> kBlockSizes[] = {{"32", 32},   {"64", 64},     {"128", 128},   {"256", 256},
                                           {"512", 512}, {"1024", 1024}, {"2048", 2048}, {"4096", 4096}};
constexpr Named<ScaleDtype> kScaleDtypes[] = {{"float32", ScaleDtype::kFloat32}};
constexpr Named<bool> kBooleans[] = {{"false", false}, {"true", true}};
constexpr Named<NestedCode> kNestedCodes[] = {{Dynamic8::kName, Dynamic8::kNestedCode}};
constexpr Named<uint32_t> kNestedBlockSizes[] = {{"256", 256}};
constexpr Named<Arithmetic> kArithmetics[] = {{"strict", Arithmetic::kStrict},
                                              {"bitsandbytes", Arithmetic::kBitsandbytes}};
constexpr Named<NonfinitePolicy> kNonfinitePolicies[] = {{"reject", NonfinitePolicy::kReject},
                                                         {"saturate", NonfinitePolicy::kSaturate},
                                                         {"library", NonfinitePolicy::kLibrary}};

// One override: its values as text, and the member of Scheme that they set.
struct Field {
  std::string_view name;
  std::vector<std::string> (*values)();
  std::string (*get)(const Scheme&);
  void (*set)(Scheme&, std::string_view);  // ignores what is not among values()
};

template <auto kMember, const auto& kTable>
constexpr Field MakeField(std::string_view name) {
  return {name,
          [] {
            std::vector<std::string> values;
            for (const auto& entry : kTable) values.emplace_back(entry.name);
            return values;
          },
          [](const Scheme& scheme) {
            for (const auto& entry : kTable) {
              if (entry.value == scheme.*kMember) return std::string(entry.name);
            }
            return std::string();
          },
          [](Scheme& scheme, std::string_view text) {
            for (const auto& entry : kTable) {
              if (entry.name == text) scheme.*kMember = entry.value;
            }
          }};
}

// Every override there is, with every value that some preset may take.
constexpr Field kFields[] = {
    MakeField<&Scheme::element, kElements>("element"),
    MakeField<&Scheme::grouping, kGroupings>("grouping"),
    MakeField<&Scheme::block_size, kBlockSizes>("block_size"),
    MakeField<&Scheme::scale_dtype, kScaleDtypes>("scale_dtype"),
    MakeField<&Scheme::double_quant, kBooleans>("double_quant"),
    MakeField<&Scheme::nested_code, kNestedCodes>("nested_code"),
    MakeField<&Scheme::nested_block_size, kNestedBlockSizes>("nested_block_size"),
    MakeField<&Scheme::arithmetic, kArithmetics>("arithmetic"),
    MakeField<&Scheme::nonfinite, kNonfinitePolicies>("nonfinite"),
};

// A field that a preset does not leave free.
struct Restriction {
  std::string_view field;
  std::vector<std::string> values;  // still possible; none: the preset has no such override
  std::string why;
};

struct Preset {
  PresetInfo info;
  Scheme defaults;
  std::vector<Restriction> restrictions;
};

const Restriction* RestrictionOf(const Preset& preset, std::string_view field) {
  for (const Restriction& restriction : preset.restrictions) {
    if (restriction.field == field) return &restriction;
  }
  return nullptr;
}

Preset MakePreset(Scheme defaults, std::string summary, std::string byte_equal_to,
                  std::vector<Restriction> restrictions) {
  Preset preset{{defaults.preset, std::move(summary), std::move(byte_equal_to), {}}, defaults, std::move(restrictions)};
  for (const Field& field : kFields) {
    const Restriction* restriction = RestrictionOf(preset, field.name);
    std::vector<std::string> values = restriction != nullptr ? restriction->values : field.values();
    if (values.empty()) continue;
    preset.info.overrides.push_back({std::string(field.name), std::move(values), field.get(defaults)});
  }
  return preset;
}

Preset MakeBitsandbytesPreset(std::string name, Element element, std::string summary, std::string why_element) {
  const Scheme defaults{.preset = std::move(name),
                        .element = element,
                        .grouping = Grouping::kBlock,
                        .block_size = 64,
                        .scale_dtype = ScaleDtype::kFloat32,
                        .double_quant = false,
                        .nested_code = NestedCode::kDynamic8,
                        .nested_block_size = 256,
                        .arithmetic = Arithmetic::kBitsandbytes,
                        .nonfinite = NonfinitePolicy::kReject,
                        .format_revision = 1};
  return MakePreset(defaults, std::move(summary), "bitsandbytes 0.50.2 on CUDA",
                    {{"element", {std::string(InfoOf(element).name)}, std::move(why_element)},
                     {"arithmetic",
                      {"bitsandbytes"},
                      "the preset's bytes are those of bitsandbytes; the preset nf4 has strict arithmetic"}});
}

const std::vector<Preset>& Presets() {
  static const std::vector<Preset> presets = {
      MakeBitsandbytesPreset("bnb-nf4", Element::kNf4, "4-bit NormalFloat with one absmax per block, as bitsandbytes.",
                             "the preset bnb-fp4 has fp4_bnb"),
      MakeBitsandbytesPreset("bnb-fp4", Element::kFp4Bnb,
                             "4-bit float with one absmax per block, in bitsandbytes' own code.",
                             "the preset bnb-nf4 has nf4"),
      MakePreset({.preset = "nf4",
                  .element = Element::kNf4,
                  .grouping = Grouping::kBlock,
                  .block_size = 64,
                  .scale_dtype = ScaleDtype::kFloat32,
                  .double_quant = false,
                  .nested_code = NestedCode::kDynamic8,
                  .nested_block_size = 256,
                  .arithmetic = Arithmetic::kStrict,
                  .nonfinite = NonfinitePolicy::kReject,
                  .format_revision = 1},
                 "4-bit NormalFloat with one absmax per block in IEEE arithmetic: division, subnormals kept.", "",
                 {{"element", {"nf4"}, "the preset bnb-fp4 has fp4_bnb"},
                  {"double_quant", {"false"}, "only the preset bnb-nf4 defines how NF4's scales are quantized"},
                  {"nested_code", {}, "the preset has no double quantization"},
                  {"nested_block_size", {}, "the preset has no double quantization"},
                  {"arithmetic", {"strict"}, "the preset bnb-nf4 has bitsandbytes arithmetic"},
                  {"nonfinite",
                   {"reject", "saturate"},
                   "NF4 has no code for NaN or infinity, and strict arithmetic follows no library"}}),
  };
  return presets;
}

// Strangers' text in an error message, cut to a length that leaves room for the advice.
std::string Quoted(const std::string& text) {
  constexpr size_t kQuotedBytesMax = 64;
  return text.size() <= kQuotedBytesMax ? absl::StrCat("'", text, "'")
                                        : absl::StrCat("'", text.substr(0, kQuotedBytesMax), "...'");
}

std::string ValueMessage(const Preset& preset, const OverrideInfo& info, const std::string& value) {
  const Restriction* restriction = RestrictionOf(preset, info.name);
  const std::string why = restriction != nullptr ? absl::StrCat(" (", restriction->why, ")") : std::string();
  return absl::StrCat(preset.info.name, " does not take ", info.name, "=", Quoted(value), why,
                      "; possible: ", absl::StrJoin(info.values, ", "));
}

std::string NameMessage(const Preset& preset, const std::string& name) {
  const Restriction* restriction = RestrictionOf(preset, name);
  const std::string why = restriction != nullptr ? absl::StrCat(" (", restriction->why, ")") : std::string();
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
  std::ranges::find(kFields, name, &Field::name)->set(scheme, value);
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
    if (absl::Status status = ApplyOverride(*preset, name, value, scheme); !status.ok()) return status;
  }
  return scheme;
}

SchemeRequest FullyResolved(const Scheme& scheme) {
  SchemeRequest request{scheme.preset, {}, scheme.format_revision};
  const auto preset = std::ranges::find(Presets(), scheme.preset, [](const Preset& p) { return p.info.name; });
  if (preset == Presets().end()) return request;
  for (const OverrideInfo& info : preset->info.overrides) {
    request.overrides[info.name] = std::ranges::find(kFields, info.name, &Field::name)->get(scheme);
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
  const double code_bits = InfoOf(scheme.element).bits;
  if (!scheme.double_quant) return code_bits + kFloat32Bits / scheme.block_size;
  const double scale_bits = Dynamic8::kBits + kFloat32Bits / scheme.nested_block_size;
  return code_bits + scale_bits / scheme.block_size;
}

}  // namespace quantd
