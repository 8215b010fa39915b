// A run's scale from its range, whichever of the methods that go with a transform it is.
#pragma once

#include "kernels/cuda/device_formats.cuh"
#include "kernels/cuda/fp8_pairs.cuh"
#include "kernels/format/bitsandbytes_scales.h"
#include "kernels/format/compressed_tensors_scales.h"
#include "kernels/format/mx_scales.h"
#include "kernels/format/strict_scales.h"
#include "kernels/scheme/recipe.h"

namespace quantd {
namespace {

template <template <class> class Method>
__device__ RunScale MakeRounded(DataType rounding, const RunRange& range, const ScaleParameters& parameters) {
  if (rounding == DataType::kFloat16) return Method<DeviceFloat16Scale>::Make(range, parameters);
  if (rounding == DataType::kBFloat16) return Method<DeviceBFloat16Scale>::Make(range, parameters);
  return Method<Float32Scale>::Make(range, parameters);
}

// Rounded, of what a launch divides by.
struct KnownReciprocals {
  float divisor;  // as FusedRules::divisor_reciprocal
  float global_scale;
};

// Rounds as a division (docs/adr/0007), but for quotients below 2^-80.
__device__ inline float QuotientByKnown(float number, float divisor, float reciprocal) {
  const float quotient = number * reciprocal;
  return __fmaf_rn(__fmaf_rn(-divisor, quotient, number), reciprocal, quotient);
}

// Of the largest code.
__device__ inline float ShareOf(float absmax, float divisor, float reciprocal) {
  if (absmax < 0x1p-60f) return absmax / divisor;
  return QuotientByKnown(absmax, divisor, reciprocal);
}

// As CompressedTensorsNvfp4, by the instructions that convert E4M3, for a global scale with IsUsualGlobalScale: what
// QuotientByKnown makes of a scale is normal then.
template <class Type>
__device__ RunScale Nvfp4Scale(float share, float global_scale, const KnownReciprocals& reciprocals) {
  const uint32_t rounded = ConvertedPair<Fp8E4m3>(global_scale * RoundTo<Type>(share), 0) & 0xff;
  const uint32_t stored = rounded == 0 ? CompressedTensorsNvfp4<Type>::kZeroScale : rounded;
  return {stored, QuotientByKnown(WidenedPair<Fp8E4m3>(stored).x, global_scale, reciprocals.global_scale), 0};
}

// What StrictAsymmetric and CompressedTensorsAsymmetric divide by a scale: a sum with a code is made of it. A quotient
// that QuotientByKnown does not cover is too small to count.
__device__ inline float InSteps(float lowest, float scale) {
  if (scale < 0x1p-60f || scale > 0x1p100f) return lowest / scale;
  return QuotientByKnown(lowest, scale, UsualReciprocal(scale));
}

// As StrictAsymmetric.
template <class Type>
__device__ RunScale StrictZeroPointScale(const RunRange& run, const ScaleParameters& parameters, float reciprocal) {
  const float half_range = run.highest / 2 - run.lowest / 2;
  const float half_steps = (parameters.highest_code - parameters.lowest_code) / 2;
  const float scale = OneForZero(RoundToFinite<Type>(ShareOf(half_range, half_steps, reciprocal)));
  const float unrounded_zero = parameters.lowest_code - InSteps(run.lowest, scale);
  const float zero = run.highest == run.lowest
                         ? 0.0f
                         : RoundEven(Clamp(unrounded_zero, parameters.lowest_code, parameters.highest_code));
  return {Type::ToBits(scale), scale, zero};
}

// As CompressedTensorsAsymmetric.
template <class Type>
__device__ RunScale CompressedTensorsZeroPointScale(const RunRange& run, const ScaleParameters& parameters,
                                                    float reciprocal) {
  const float range = RoundToFinite<Type>(run.highest - run.lowest);
  const float rounded = RoundToFinite<Type>(ShareOf(range, parameters.divisor, reciprocal));
  if (rounded == 0) return {Type::ToBits(Type::kEpsilon), Type::kEpsilon, 0};
  const float unrounded_zero = RoundTo<Type>(parameters.lowest_code - RoundTo<Type>(InSteps(run.lowest, rounded)));
  const float zero = RoundEven(Clamp(unrounded_zero, parameters.lowest_code, parameters.highest_code));
  return {Type::ToBits(rounded), rounded, zero};
}

// All threads take the same branch, so one kernel serves all methods.
template <Transform kTransform, ElementKind kKind>
__device__ RunScale MakeRunScale(ScaleMethod method, DataType rounding, const RunRange& range,
                                 const ScaleParameters& parameters, const KnownReciprocals& reciprocals) {
  if constexpr (kTransform == Transform::kMultiplyFtz) {
    if constexpr (kKind == ElementKind::kInteger) return DeviceBitsandbytesRow::Make(range, parameters);
    return DeviceBitsandbytesAbsmax::Make(range, parameters);
  } else if constexpr (kTransform == Transform::kMultiply) {
    if (method == ScaleMethod::kMxFloor) return MxFloor::Make(range, parameters);
    if (method == ScaleMethod::kMxCeil) return MxCeil::Make(range, parameters);
    if (method == ScaleMethod::kMxEven) return MxEven::Make(range, parameters);
    if (method == ScaleMethod::kMxRceil) return MxRceil::Make(range, parameters);
    if (rounding == DataType::kFloat16) return CompressedTensorsMx<true>::Make(range, parameters);
    return CompressedTensorsMx<false>::Make(range, parameters);
  } else if constexpr (kTransform == Transform::kDivideAddZero) {
    const auto make = [&]<class Type>() {
      if (method == ScaleMethod::kStrictAsymmetric) {
        return StrictZeroPointScale<Type>(range, parameters, reciprocals.divisor);
      }
      return CompressedTensorsZeroPointScale<Type>(range, parameters, reciprocals.divisor);
    };
    if (rounding == DataType::kFloat16) return make.template operator()<DeviceFloat16Scale>();
    if (rounding == DataType::kBFloat16) return make.template operator()<DeviceBFloat16Scale>();
    return make.template operator()<Float32Scale>();
  } else if constexpr (kKind == ElementKind::kLevels) {
    return MakeRounded<StrictAbsmax>(rounding, range, parameters);
  } else {
    const float share = ShareOf(range.absmax, parameters.divisor, reciprocals.divisor);
    if constexpr (kKind == ElementKind::kMiniFloat) {
      if (method == ScaleMethod::kCompressedTensorsNvfp4) {
        const float global_scale = parameters.global_scale;
        if (rounding == DataType::kFloat16) return Nvfp4Scale<DeviceFloat16Scale>(share, global_scale, reciprocals);
        if (rounding == DataType::kBFloat16) return Nvfp4Scale<DeviceBFloat16Scale>(share, global_scale, reciprocals);
        return Nvfp4Scale<Float32Scale>(share, global_scale, reciprocals);
      }
    }
    // One division for all of them; what they would divide by is 1.
    if (method == ScaleMethod::kStrictSymmetric) return MakeRounded<StrictSymmetric>(rounding, {share, 0, 0}, {});
    return MakeRounded<CompressedTensorsSymmetric>(rounding, {share, 0, 0}, {});
  }
}

// The scales of some runs as floats. What the whole launch has in common is found out once, so that all of them are
// fetched before the first is waited for.
template <ElementKind kKind, uint32_t kCount>
__device__ void RestoreRunScales(ScaleMethod method, DataType rounding, const std::byte* stored,
                                 const uint32_t (&runs)[kCount], const ScaleParameters& parameters,
                                 float (&scales)[kCount]) {
  const auto restore = [&](const auto* scale_bits, const auto& from_bits) {
#pragma unroll
    for (uint32_t i = 0; i < kCount; ++i) scales[i] = from_bits(scale_bits[runs[i]]);
  };
  const auto* const bytes = reinterpret_cast<const uint8_t*>(stored);
  const auto* const halves = reinterpret_cast<const uint16_t*>(stored);
  if constexpr (kKind == ElementKind::kMiniFloat) {
    switch (method) {
      case ScaleMethod::kCompressedTensorsNvfp4:
        return restore(bytes, [&](uint32_t bits) { return WidenedPair<Fp8E4m3>(bits).x / parameters.global_scale; });
      case ScaleMethod::kCompressedTensorsMx:
      case ScaleMethod::kMxFloor:
      case ScaleMethod::kMxCeil:
      case ScaleMethod::kMxEven:
      case ScaleMethod::kMxRceil:
        return restore(bytes, [](uint32_t bits) { return DecodeE8m0(bits); });
      default:
        break;
    }
  }
  if (rounding == DataType::kFloat32) {
    return restore(reinterpret_cast<const float*>(stored), [](float scale) { return scale; });
  }
  if (rounding == DataType::kFloat16) {
    return restore(halves, [](uint16_t bits) { return DeviceFloat16Scale::FromBits(bits); });
  }
  restore(halves, [](uint16_t bits) { return DeviceBFloat16Scale::FromBits(bits); });
}

}  // namespace
}  // namespace quantd
