// Multiplication as a GPU program built with fast math does it: float32 subnormals count as zeros.
#pragma once

#include <bit>
#include <cstdint>

namespace quantd {

// A subnormal becomes a zero of the same sign.
constexpr float FlushToZero(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = bits & 0x80000000u;
  return std::bit_cast<float>((bits & 0x7f800000u) != 0 ? bits : sign);
}

constexpr float MultiplyFtz(float a, float b) { return FlushToZero(FlushToZero(a) * FlushToZero(b)); }

}  // namespace quantd
