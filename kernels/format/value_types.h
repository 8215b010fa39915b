// The float types of a tensor as loads, stores and magnitudes, one struct each.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#include "kernels/base/data_type.h"
#include "kernels/base/float16.h"

namespace quantd {

// Narrow makes every NaN canonical, Cast leaves it as it is where the type can hold it.
// Magnitude: the bits without the sign, which order as the magnitudes do, NaN above infinity. Signed, because that is
// what every instruction set has a vector maximum for.
struct Float32Values {
  using Bits = uint32_t;
  using Magnitude = int32_t;
  static constexpr Magnitude kMagnitudeMask = 0x7fffffff;
  static constexpr Magnitude kInfinity = 0x7f800000;
  static constexpr float kLargestFinite = std::numeric_limits<float>::max();
  static constexpr float Widen(Bits bits) { return std::bit_cast<float>(bits); }
  static constexpr Bits Narrow(float value) {
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    return (bits & 0x7fffffffu) > 0x7f800000u ? kCanonicalNan32 : bits;
  }
  static constexpr Bits Cast(float value) { return std::bit_cast<uint32_t>(value); }
};

struct Float16Values {
  using Bits = uint16_t;
  using Magnitude = int16_t;
  static constexpr Magnitude kMagnitudeMask = 0x7fff;
  static constexpr Magnitude kInfinity = 0x7c00;
  static constexpr float kLargestFinite = 65504.0f;
  static constexpr float Widen(Bits bits) { return Float16ToFloat32(bits); }
  static constexpr Bits Narrow(float value) { return Float32ToFloat16(value); }
  static constexpr Bits Cast(float value) { return Narrow(value); }
};

struct BFloat16Values {
  using Bits = uint16_t;
  using Magnitude = int16_t;
  static constexpr Magnitude kMagnitudeMask = 0x7fff;
  static constexpr Magnitude kInfinity = 0x7f80;
  static constexpr float kLargestFinite = 0x1.fep127f;
  static constexpr float Widen(Bits bits) { return BFloat16ToFloat32(bits); }
  static constexpr Bits Narrow(float value) { return Float32ToBFloat16(value); }
  static constexpr Bits Cast(float value) { return Narrow(value); }
};

// Calls function(Float32Values{}) or that of another type.
template <class Function>
auto WithValues(DataType type, Function function) {
  if (type == DataType::kFloat16) return function(Float16Values{});
  if (type == DataType::kBFloat16) return function(BFloat16Values{});
  return function(Float32Values{});
}

// Loads and stores of any alignment.
template <class T>
inline T LoadUnaligned(const std::byte* source) {
  T value;
  std::memcpy(&value, source, sizeof(value));
  return value;
}
template <class T>
inline void StoreUnaligned(std::byte* target, T value) {
  std::memcpy(target, &value, sizeof(value));
}

}  // namespace quantd
