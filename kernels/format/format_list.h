// The only list of element codecs. Every table with an entry for each codec is derived from it.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include "kernels/format/dynamic8.h"
#include "kernels/format/element.h"
#include "kernels/format/fp4_bnb.h"
#include "kernels/format/nf4.h"

namespace quantd {

template <class... Formats>
struct FormatList {};

// In the order of Element.
using AllFormats = FormatList<Nf4, Fp4Bnb>;
// Codecs of block scales, in the order of NestedCode.
using NestedFormats = FormatList<Dynamic8>;

struct FormatInfo {
  Element element;
  std::string_view name;  // as the override `element`
  int bits;               // of one code
};

template <class... Formats>
constexpr std::array<FormatInfo, sizeof...(Formats)> MakeFormatInfos(FormatList<Formats...>) {
  return {{{Formats::kElement, Formats::kName, Formats::kBits}...}};
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
