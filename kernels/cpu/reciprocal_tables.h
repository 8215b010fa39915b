// The coefficients of kernels/format/approx_reciprocal.h for 32-bit lanes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "kernels/format/approx_reciprocal.h"

namespace quantd {

// Of each segment, modulo 2^32: the constant term with the rounding term.
inline constexpr auto kReciprocalConstants = [] {
  std::array<uint32_t, 128> constants{};
  for (size_t i = 0; i < constants.size(); ++i) {
    const uint64_t constant = (approx_reciprocal::kSegments[i] >> 26) + (uint64_t{1} << 25);
    constants[i] = static_cast<uint32_t>((constant << 13) + 2023);
  }
  return constants;
}();

// Bits 10 to 25 the negated slope, bits 0 to 9 the curvature.
inline constexpr auto kReciprocalSlopes = [] {
  std::array<uint32_t, 128> slopes{};
  for (size_t i = 0; i < slopes.size(); ++i) {
    slopes[i] = static_cast<uint32_t>(approx_reciprocal::kSegments[i] & 0x3ffffffu);
  }
  return slopes;
}();

}  // namespace quantd
