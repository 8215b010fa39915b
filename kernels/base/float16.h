// float16 (IEEE binary16) and bfloat16 as bit patterns, to and from float32.
#pragma once

#include <bit>
#include <cstdint>

namespace quantd {

static_assert(std::endian::native == std::endian::little, "the formats are little-endian, and so is this code");

// What CUDA makes of any NaN that it rounds to 16 bits, and what it computes in 32.
inline constexpr uint16_t kCanonicalNan16 = 0x7fff;
inline constexpr uint32_t kCanonicalNan32 = 0x7fffffff;

// Exact. NaN stays NaN.
constexpr float Float16ToFloat32(uint16_t half) {
  const uint32_t sign = uint32_t{half} << 16 & 0x80000000u;
  const uint32_t magnitude = half & 0x7fffu;
  // The multiplication moves the exponent's bias and normalizes subnormals; infinity and NaN get all exponent bits set.
  const uint32_t scaled = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude << 13) * 0x1p112f);
  const uint32_t nonfinite = (0u - static_cast<uint32_t>(magnitude >= 0x7c00u)) & 0x7f800000u;
  return std::bit_cast<float>(sign | scaled | nonfinite);
}

// Exact. NaN stays NaN.
constexpr float BFloat16ToFloat32(uint16_t brain) { return std::bit_cast<float>(uint32_t{brain} << 16); }

// To nearest, ties to even; subnormals are kept; beyond the largest finite value infinity; NaN becomes kCanonicalNan16.
constexpr uint16_t Float32ToFloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = bits >> 16 & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return kCanonicalNan16;
  if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);
  if (magnitude < 0x38800000u) {
    // The spacing of floats in [0.5, 1) is that of float16 subnormals, so the addition rounds where float16 does.
    const uint32_t sum = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f);
    return static_cast<uint16_t>(sign | (sum - 0x3f000000u));
  }
  const uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u) - (112u << 23);
  return static_cast<uint16_t>(sign | rounded >> 13);
}

// To nearest, ties to even; subnormals are kept; beyond the largest finite value infinity; NaN becomes kCanonicalNan16.
constexpr uint16_t Float32ToBFloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return kCanonicalNan16;
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

}  // namespace quantd
