// Microscaling: one power of two for a group, stored as its biased exponent (E8M0). Values are multiplied by the
// factor, the exact reciprocal of the scale.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/base/float16.h"
#include "kernels/format/scale_types.h"

namespace quantd {

// 2^exponent, -149 to 127; infinity above.
constexpr float PowerOfTwo(int32_t exponent) {
  if (exponent > 127) return std::bit_cast<float>(0x7f800000u);
  if (exponent >= -126) return std::bit_cast<float>(static_cast<uint32_t>(exponent + 127) << 23);
  return std::bit_cast<float>(1u << (exponent + 149));
}

// Byte 255 is NaN.
constexpr float DecodeE8m0(uint32_t byte) {
  return byte == 255 ? std::bit_cast<float>(kCanonicalNan32) : PowerOfTwo(static_cast<int32_t>(byte) - 127);
}

// torchao's rules, which differ in how absmax becomes a power of two.
struct MxRound {
  // The exponent of `absmax`, its mantissa raised by `increment` first.
  static constexpr RunScale Make(float absmax, uint32_t increment, uint32_t carry, const ScaleParameters& parameters) {
    const uint32_t bits = std::bit_cast<uint32_t>(absmax) + increment;
    const int32_t unclamped = static_cast<int32_t>((bits >> 23) + carry) - parameters.largest_exponent;
    const uint32_t byte = absmax > Float32Scale::kLargest || absmax != absmax
                              ? NonfiniteByte(absmax, parameters)
                              : static_cast<uint32_t>(unclamped < 0 ? 0 : unclamped);
    // The library divides by 2^-126 where the scale is smaller.
    return {byte, byte == 255 ? 0.0f : PowerOfTwo(127 - static_cast<int32_t>(byte == 0 ? 1 : byte)), 0};
  }
  // NaN in the group: NaN. Infinity: its exponent as that of any other number.
  static constexpr uint32_t NonfiniteByte(float absmax, const ScaleParameters& parameters) {
    return absmax != absmax ? 255u : 255u - static_cast<uint32_t>(parameters.largest_exponent);
  }
};

struct MxFloor {
  static constexpr RunScale Make(const RunRange& run, const ScaleParameters& parameters) {
    return MxRound::Make(run.absmax, 0, 0, parameters);
  }
  static constexpr float Restore(uint32_t stored, const ScaleParameters&) { return DecodeE8m0(stored); }
};

struct MxCeil {
  static constexpr RunScale Make(const RunRange& run, const ScaleParameters& parameters) {
    const uint32_t fraction = std::bit_cast<uint32_t>(run.absmax) & 0x7fffffu;
    return MxRound::Make(run.absmax, 0, fraction != 0 ? 1 : 0, parameters);
  }
  static constexpr float Restore(uint32_t stored, const ScaleParameters&) { return DecodeE8m0(stored); }
};

struct MxEven {
  static constexpr RunScale Make(const RunRange& run, const ScaleParameters& parameters) {
    return MxRound::Make(run.absmax, 1u << (22 - parameters.mantissa_bits), 0, parameters);
  }
  static constexpr float Restore(uint32_t stored, const ScaleParameters&) { return DecodeE8m0(stored); }
};

// Rounds log2(absmax / largest) up. The library takes the logarithm in float32, so a quotient a few ulps above a power
// of two counts as that power.
struct MxRceil {
  static constexpr RunScale Make(const RunRange& run, const ScaleParameters& parameters) {
    const float quotient = run.absmax / parameters.divisor;
    if (quotient != quotient) return {255, quotient, 0};
    if (quotient > Float32Scale::kLargest) return {254, PowerOfTwo(-127), 0};
    const int32_t exponent = CeilLog2(quotient);
    const uint32_t byte = exponent < -127 ? 0u : exponent > 127 ? 254u : static_cast<uint32_t>(exponent + 127);
    return {byte, byte == 0 ? 1.0f : PowerOfTwo(127 - static_cast<int32_t>(byte)), 0};
  }
  static constexpr float Restore(uint32_t stored, const ScaleParameters&) { return DecodeE8m0(stored); }

  // ceil of log2 rounded to float32, of a finite value; -128 or less where it does not matter how much less.
  static constexpr int32_t CeilLog2(float value) {
    uint32_t bits = std::bit_cast<uint32_t>(value);
    int32_t exponent = static_cast<int32_t>(bits >> 23) - 127;
    uint32_t fraction = bits & 0x7fffffu;
    if (exponent == -127) {
      if (fraction < 0x400000u) return -128;
      fraction = fraction << 1 & 0x7fffffu;
    }
    return exponent + (fraction > LargestIgnored(exponent) ? 1 : 0);
  }
  // Largest fraction f, in units of 2^-23, for which log2(1 + f) is less than half the spacing of floats beyond
  // `exponent`: floor(2^(j - 1) · ln 2), where 2^j is the power of two at which that spacing begins.
  static constexpr uint32_t LargestIgnored(int32_t exponent) {
    // Away from zero for a positive exponent, towards it for a negative one, where a power of two ends a spacing.
    const uint32_t magnitude = static_cast<uint32_t>(exponent < 0 ? -exponent - 1 : exponent);
    return magnitude >= 64   ? 22
           : magnitude >= 32 ? 11
           : magnitude >= 16 ? 5
           : magnitude >= 8  ? 2
           : magnitude >= 4  ? 1
                             : 0;
  }
};

// compressed-tensors: rounds up from 1.75 times a power of two on, on the bits of the weight's type.
template <bool kFloat16>
struct CompressedTensorsMx {
  static constexpr RunScale Make(const RunRange& run, const ScaleParameters& parameters) {
    const uint32_t byte = kFloat16 ? Float16Byte(run.absmax, parameters) : Float32Byte(run.absmax, parameters);
    return {byte, PowerOfTwo(127 - static_cast<int32_t>(byte)), 0};
  }
  static constexpr float Restore(uint32_t stored, const ScaleParameters&) { return DecodeE8m0(stored); }

  // bfloat16 too: its bits are float32's upper half, and the carry goes up all the same.
  static constexpr uint32_t Float32Byte(float absmax, const ScaleParameters& parameters) {
    const uint32_t bits = std::bit_cast<uint32_t>(absmax) + (1u << 21);
    const int32_t exponent = static_cast<int32_t>(bits >> 23) - parameters.largest_exponent;
    return exponent < 0 ? 0u : static_cast<uint32_t>(exponent);
  }
  // The power of two is rounded to float16, and 1 where that is 0. Infinity counts as 2^16.
  static constexpr uint32_t Float16Byte(float absmax, const ScaleParameters& parameters) {
    const uint32_t bits = Float32ToFloat16(absmax) + (1u << 8);
    const int32_t exponent = static_cast<int32_t>(bits >> 10);
    return exponent == 0 ? 127u : static_cast<uint32_t>(exponent + 127 - 15 - parameters.largest_exponent);
  }
};

}  // namespace quantd
