// The only list of element codecs. Every table with an entry for each codec is derived from it.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include "kernels/format/cast.h"
#include "kernels/format/dynamic8.h"
#include "kernels/format/element.h"
#include "kernels/format/fp4_bnb.h"
#include "kernels/format/integer.h"
#include "kernels/format/mini_float.h"
#include "kernels/format/nf4.h"

namespace quantd {

template <class... Formats>
struct FormatList {};

// In the order of Element.
using AllFormats = FormatList<Nf4, Fp4Bnb, Fp4E2m1, Fp4E3m0, Int2, Int3, Int4, Int5, Int6, Int7, Int8, Fp8E4m3, Fp8E5m2,
                              Dynamic8, BFloat16, Float16>;

struct FormatInfo {
  Element element;
  ElementKind kind;
  std::string_view name;  // as the override `element`
  int bits;               // of one code
  bool has_nan;
  float largest;  // magnitude that a code can hold on both sides of zero
};

template <class... Formats>
constexpr std::array<FormatInfo, sizeof...(Formats)> MakeFormatInfos(FormatList<Formats...>) {
  return {
      {{Formats::kElement, Formats::kKind, Formats::kName, Formats::kBits, Formats::kHasNan, Formats::kLargest}...}};
}

inline constexpr auto kFormats = MakeFormatInfos(AllFormats{});

constexpr const FormatInfo& InfoOf(Element element) { return kFormats[static_cast<size_t>(element)]; }

static_assert(
    [] {
      for (size_t i = 0; i < kFormats.size(); ++i) {
        if (static_cast<size_t>(kFormats[i].element) != i) return false;
      }
      return true;
    }(),
    "AllFormats must be in the order of Element");

}  // namespace quantd
