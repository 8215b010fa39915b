// What transformed magnitudes are compared with where the rank among thresholds is the code, or leads to it: 4-bit
// elements with a sign.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "kernels/format/format_list.h"

namespace quantd {

inline constexpr size_t kRanks = 8;

// Element k: a magnitude has a rank above k if it is above. A tie is no special case: where it has the higher rank, the
// float below stands here.
template <class Format>
  requires(Format::kKind == ElementKind::kMiniFloat && Format::kBits == 4)
consteval std::array<float, kRanks - 1> MakeRunThresholds() {
  static_assert(Format::kLargestCode == kRanks - 1);
  std::array<float, kRanks - 1> thresholds{};
  for (uint32_t k = 0; k < thresholds.size(); ++k) {
    const float tie = (Format::DecodeMagnitude(k) + Format::DecodeMagnitude(k + 1)) / 2;
    const bool tie_is_above = (k + 1) % 2 == 0;
    thresholds[k] = tie_is_above ? std::bit_cast<float>(std::bit_cast<uint32_t>(tie) - 1) : tie;
  }
  return thresholds;
}

template <class Format>
  requires std::is_same_v<Format, Fp4Bnb>
consteval std::array<float, kRanks - 1> MakeRunThresholds() {
  return std::to_array(kFp4BnbThresholds);
}

}  // namespace quantd
