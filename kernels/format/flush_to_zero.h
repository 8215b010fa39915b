// Multiplication as a GPU program built with fast math does it: float32 subnormals count as zeros.
#pragma once

#include <bit>
#include <cstdint>

namespace quantd {

// A subnormal becomes a zero of the same sign.
constexpr float FlushToZero(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const bool subnormal_or_zero = (bits & 0x7f800000u) == 0;
  // A mask and no choice, so that compilers turn it into vector code.
  const uint32_t kept = 0x80000000u | (static_cast<uint32_t>(subnormal_or_zero) - 1u);
  return std::bit_cast<float>(bits & kept);
}

constexpr float MultiplyFtz(float a, float b) { return FlushToZero(FlushToZero(a) * FlushToZero(b)); }

}  // namespace quantd
