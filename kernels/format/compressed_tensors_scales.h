// Scales as compressed-tensors makes them: every step in float32, then rounded to the weight's type. Values are divided
// by the factor.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/format/mini_float.h"
#include "kernels/format/scale_types.h"

namespace quantd {

// Integers and FP8. A zero scale becomes the type's epsilon.
template <class Type>
struct CompressedTensorsSymmetric {
  static constexpr RunScale Make(const RunRange& run, const ScaleParameters& parameters) {
    const float rounded = RoundToFinite<Type>(run.absmax / parameters.divisor);
    const float scale = rounded == 0 ? Type::kEpsilon : rounded;
    return {Type::ToBits(scale), scale, 0};
  }
  static constexpr float Restore(uint32_t stored, const ScaleParameters&) { return Type::FromBits(stored); }
};

// Integers with a zero point; `divisor` is the number of steps. A range beyond the type's largest value, where the
// library's scale is infinite, counts as that value.
template <class Type>
struct CompressedTensorsAsymmetric {
  static constexpr RunScale Make(const RunRange& run, const ScaleParameters& parameters) {
    const float range = RoundToFinite<Type>(run.highest - run.lowest);
    const float rounded = RoundToFinite<Type>(range / parameters.divisor);
    if (rounded == 0) return {Type::ToBits(Type::kEpsilon), Type::kEpsilon, 0};
    const float unrounded_zero = RoundTo<Type>(parameters.lowest_code - RoundTo<Type>(run.lowest / rounded));
    const float zero = RoundEven(Clamp(unrounded_zero, parameters.lowest_code, parameters.highest_code));
    return {Type::ToBits(rounded), rounded, zero};
  }
  static constexpr float Restore(uint32_t stored, const ScaleParameters&) { return Type::FromBits(stored); }
};

// NVFP4: an E4M3 scale for each group, relative to one of the tensor. `Type` is the weight's.
template <class Type>
struct CompressedTensorsNvfp4 {
  static constexpr RunScale Make(const RunRange& run, const ScaleParameters& parameters) {
    const float relative = parameters.global_scale * RoundTo<Type>(run.absmax / parameters.divisor);
    const uint32_t rounded = Fp8E4m3::Encode(relative);
    const uint32_t stored = rounded == 0 ? kZeroScale : rounded;
    return {stored, Restore(stored, parameters), 0};
  }
  static constexpr float Restore(uint32_t stored, const ScaleParameters& parameters) {
    return Fp8E4m3::Decode(stored) / parameters.global_scale;
  }
  static constexpr uint32_t kZeroScale = 0x20;  // 0.125
};

// The scale of a whole NVFP4 tensor. `Type` is the weight's, kSmallestNormal its smallest normal value.
template <class Type>
constexpr float Nvfp4GlobalScale(float tensor_absmax, float smallest_normal) {
  const float absmax = tensor_absmax > smallest_normal ? tensor_absmax : smallest_normal;
  const float scale = RoundTo<Type>(RoundTo<Type>(1.0f / absmax) * (6.0f * 448.0f));
  return scale <= Type::kLargest ? scale : 1.0f;
}

}  // namespace quantd
