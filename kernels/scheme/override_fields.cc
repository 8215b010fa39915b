#include "kernels/scheme/override_fields.h"

#include <array>

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
constexpr Named<Grouping> kGroupings[] = {{"none", Grouping::kNone},       {"tensor", Grouping::kTensor},
                                          {"channel", Grouping::kChannel}, {"block", Grouping::kBlock},
                                          {"group", Grouping::kGroup},     {"tile", Grouping::kTile}};
constexpr Named<uint32_t> kSizes[] = {{"16", 16},   {"32", 32},     {"64", 64},     {"128", 128},  {"256", 256},
                                      {"512", 512}, {"1024", 1024}, {"2048", 2048}, {"4096", 4096}};
constexpr Named<bool> kBooleans[] = {{"false", false}, {"true", true}};
constexpr Named<ScaleDtype> kScaleDtypes[] = {{"none", ScaleDtype::kNone},         {"input", ScaleDtype::kInput},
                                              {"float32", ScaleDtype::kFloat32},   {"float16", ScaleDtype::kFloat16},
                                              {"bfloat16", ScaleDtype::kBFloat16}, {"e8m0", ScaleDtype::kE8m0},
                                              {"e4m3", ScaleDtype::kE4m3}};
constexpr Named<ScaleRule> kScaleRules[] = {
    {"floor", ScaleRule::kFloor}, {"ceil", ScaleRule::kCeil}, {"even", ScaleRule::kEven}, {"rceil", ScaleRule::kRceil}};
constexpr Named<NestedCode> kNestedCodes[] = {{"dynamic8", NestedCode::kDynamic8}, {"e4m3", NestedCode::kFp8E4m3}};
constexpr Named<uint32_t> kNestedBlockSizes[] = {{"256", 256}};
constexpr Named<Arithmetic> kArithmetics[] = {{"strict", Arithmetic::kStrict},
                                              {"bitsandbytes", Arithmetic::kBitsandbytes},
                                              {"compressed_tensors", Arithmetic::kCompressedTensors},
                                              {"torchao", Arithmetic::kTorchao},
                                              {"ggml", Arithmetic::kGgml}};
constexpr Named<Overflow> kOverflows[] = {{"saturate", Overflow::kSaturate}, {"ieee", Overflow::kIeee}};
constexpr Named<RangeChoice> kRangeChoices[] = {{"minmax", RangeChoice::kMinmax}, {"mse", RangeChoice::kMse}};
constexpr Named<Rounding> kRoundings[] = {{"nearest", Rounding::kNearest}};
constexpr Named<NonfinitePolicy> kNonfinitePolicies[] = {{"reject", NonfinitePolicy::kReject},
                                                         {"saturate", NonfinitePolicy::kSaturate},
                                                         {"library", NonfinitePolicy::kLibrary}};

bool Always(const Scheme&) { return true; }

template <Grouping kGrouping>
bool GroupedBy(const Scheme& scheme) {
  return scheme.grouping == kGrouping;
}

template <auto kMember, const auto& kTable>
constexpr OverrideField MakeField(std::string_view name, bool (*matters)(const Scheme&) = Always,
                                  std::string_view matters_when = "") {
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
          },
          matters,
          matters_when};
}

constexpr OverrideField kFields[] = {
    MakeField<&Scheme::element, kElements>("element"),
    MakeField<&Scheme::grouping, kGroupings>("grouping"),
    MakeField<&Scheme::block_size, kSizes>("block_size", GroupedBy<Grouping::kBlock>, "grouping=block"),
    MakeField<&Scheme::group_size, kSizes>("group_size", GroupedBy<Grouping::kGroup>, "grouping=group"),
    MakeField<&Scheme::tile_rows, kSizes>("tile_rows", GroupedBy<Grouping::kTile>, "grouping=tile"),
    MakeField<&Scheme::tile_cols, kSizes>("tile_cols", GroupedBy<Grouping::kTile>, "grouping=tile"),
    MakeField<&Scheme::symmetric, kBooleans>("symmetric"),
    MakeField<&Scheme::scale_dtype, kScaleDtypes>("scale_dtype"),
    MakeField<&Scheme::scale_rule, kScaleRules>("scale_rule"),
    MakeField<&Scheme::double_quant, kBooleans>("double_quant"),
    MakeField<&Scheme::nested_code, kNestedCodes>("nested_code"),
    MakeField<&Scheme::nested_block_size, kNestedBlockSizes>("nested_block_size"),
    MakeField<&Scheme::arithmetic, kArithmetics>("arithmetic"),
    MakeField<&Scheme::range, kRangeChoices>("range"),
    MakeField<&Scheme::overflow, kOverflows>("overflow"),
    MakeField<&Scheme::rounding, kRoundings>("rounding"),
    MakeField<&Scheme::nonfinite, kNonfinitePolicies>("nonfinite"),
};

}  // namespace

std::span<const OverrideField> AllOverrideFields() { return kFields; }

const OverrideField* FindOverrideField(std::string_view name) {
  for (const OverrideField& field : kFields) {
    if (field.name == name) return &field;
  }
  return nullptr;
}

}  // namespace quantd
