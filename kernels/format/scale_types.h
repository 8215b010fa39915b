// The float types that a scale is stored in, one struct each.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>

#include "kernels/base/float16.h"

namespace quantd {

// Double quantization: block scales that share a scale of their own.
inline constexpr uint32_t kNestedBlockScales = 256;

struct Float32Scale {
  static constexpr float kLargest = std::numeric_limits<float>::max();
  static constexpr float kEpsilon = 0x1p-23f;  // between 1 and the next value
  static constexpr uint32_t ToBits(float value) { return std::bit_cast<uint32_t>(value); }
  static constexpr float FromBits(uint32_t bits) { return std::bit_cast<float>(bits); }
};

struct Float16Scale {
  static constexpr float kLargest = 65504.0f;
  static constexpr float kEpsilon = 0x1p-10f;
  static constexpr uint32_t ToBits(float value) { return Float32ToFloat16(value); }
  static constexpr float FromBits(uint32_t bits) { return Float16ToFloat32(static_cast<uint16_t>(bits)); }
};

struct BFloat16Scale {
  static constexpr float kLargest = 0x1.fep127f;
  static constexpr float kEpsilon = 0x1p-7f;
  static constexpr uint32_t ToBits(float value) { return Float32ToBFloat16(value); }
  static constexpr float FromBits(uint32_t bits) { return BFloat16ToFloat32(static_cast<uint16_t>(bits)); }
};

// To nearest, ties to even, in the type; NaN stays NaN.
template <class Type>
constexpr float RoundTo(float value) {
  return Type::FromBits(Type::ToBits(value));
}

// The same, but what would become infinite is the largest finite value instead.
template <class Type>
constexpr float RoundToFinite(float value) {
  return RoundTo<Type>(value < Type::kLargest ? value : Type::kLargest);
}

// What is known of a run's values: all that a scale is made of.
struct RunRange {
  float absmax;
  float lowest;   // at most 0; of asymmetric schemes only
  float highest;  // at least 0; of asymmetric schemes only
};

// What a run is encoded with.
struct RunScale {
  uint32_t stored;  // bits of the scale as they are stored, in the low end
  float factor;     // divisor or multiplier of every value
  float zero;       // an integer; of asymmetric schemes only
};

// What all runs of a tensor have in common. What a method does not use is not looked at.
struct ScaleParameters {
  float divisor = 1;       // absmax / divisor is the scale
  float lowest_code = 0;   // of asymmetric integers
  float highest_code = 0;  // of asymmetric integers
  float global_scale = 1;  // of NVFP4
  // Of the MX element: exponent of the largest power of two, and mantissa bits.
  int32_t largest_exponent = 0;
  uint32_t mantissa_bits = 0;
  uint32_t value_mantissa_bits = 23;  // of the tensor's type

  bool operator==(const ScaleParameters&) const = default;
};

// The nearest integer, ties to even, of a magnitude below 2^22.
constexpr float RoundEven(float value) {
  constexpr float kMagic = 0x1.8p23f;
  return (value + kMagic) - kMagic;
}

constexpr float Clamp(float value, float low, float high) {
  const float raised = value > low ? value : low;
  return raised < high ? raised : high;
}

}  // namespace quantd
