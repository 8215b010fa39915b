// Finite floats as unsigned integers that order as they do, -0 below +0.
#pragma once

#include <bit>
#include <cstdint>

namespace quantd {

constexpr uint32_t OrderedKeyOfBits(uint32_t float_bits) {
  return (float_bits & 0x80000000u) != 0 ? ~float_bits : float_bits | 0x80000000u;
}
constexpr uint32_t OrderedKey(float value) { return OrderedKeyOfBits(std::bit_cast<uint32_t>(value)); }
constexpr float FromOrderedKey(uint32_t key) {
  return std::bit_cast<float>((key & 0x80000000u) != 0 ? key & 0x7fffffffu : ~key);
}

// The highest and the lowest bound of nothing.
inline constexpr uint32_t kNoLowestKey = OrderedKeyOfBits(0x7f800000u);
inline constexpr uint32_t kNoHighestKey = OrderedKeyOfBits(0xff800000u);

struct KeyRange {
  uint32_t lowest = kNoLowestKey;
  uint32_t highest = kNoHighestKey;
};

}  // namespace quantd
