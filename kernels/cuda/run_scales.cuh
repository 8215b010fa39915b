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

// As CompressedTensorsNvfp4, by the instructions that convert E4M3.
template <class Type>
struct DeviceNvfp4 {
  __device__ static RunScale Make(const RunRange& run, const ScaleParameters& parameters) {
    const float relative = parameters.global_scale * RoundTo<Type>(run.absmax / parameters.divisor);
    const uint32_t rounded = ConvertedPair<Fp8E4m3>(relative, 0) & 0xff;
    const uint32_t stored = rounded == 0 ? CompressedTensorsNvfp4<Type>::kZeroScale : rounded;
    return {stored, Restore(stored, parameters), 0};
  }
  __device__ static float Restore(uint32_t stored, const ScaleParameters& parameters) {
    return WidenedPair<Fp8E4m3>(stored).x / parameters.global_scale;
  }
};

// All threads take the same branch, so one kernel serves all methods.
template <Transform kTransform, ElementKind kKind>
__device__ RunScale MakeRunScale(ScaleMethod method, DataType rounding, const RunRange& range,
                                 const ScaleParameters& parameters) {
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
    if (method == ScaleMethod::kStrictAsymmetric) return MakeRounded<StrictAsymmetric>(rounding, range, parameters);
    return MakeRounded<CompressedTensorsAsymmetric>(rounding, range, parameters);
  } else if constexpr (kKind == ElementKind::kLevels) {
    return MakeRounded<StrictAbsmax>(rounding, range, parameters);
  } else {
    if constexpr (kKind == ElementKind::kMiniFloat) {
      if (method == ScaleMethod::kCompressedTensorsNvfp4) {
        return MakeRounded<DeviceNvfp4>(rounding, range, parameters);
      }
    }
    if (method == ScaleMethod::kStrictSymmetric) return MakeRounded<StrictSymmetric>(rounding, range, parameters);
    return MakeRounded<CompressedTensorsSymmetric>(rounding, range, parameters);
  }
}

// The scales of some runs as floats. What the whole launch has in common is found out once, so that all of them are
// fetched before the first is waited for.
template <uint32_t kCount>
__device__ void RestoreRunScales(ScaleMethod method, DataType rounding, const std::byte* stored,
                                 const uint32_t (&runs)[kCount], const ScaleParameters& parameters,
                                 float (&scales)[kCount]) {
  const auto restore = [&](const auto* scale_bits, const auto& from_bits) {
#pragma unroll
    for (uint32_t i = 0; i < kCount; ++i) scales[i] = from_bits(scale_bits[runs[i]]);
  };
  const auto* const bytes = reinterpret_cast<const uint8_t*>(stored);
  const auto* const halves = reinterpret_cast<const uint16_t*>(stored);
  switch (method) {
    case ScaleMethod::kCompressedTensorsNvfp4:
      return restore(bytes, [&](uint32_t bits) { return DeviceNvfp4<Float32Scale>::Restore(bits, parameters); });
    case ScaleMethod::kCompressedTensorsMx:
    case ScaleMethod::kMxFloor:
    case ScaleMethod::kMxCeil:
    case ScaleMethod::kMxEven:
    case ScaleMethod::kMxRceil:
      return restore(bytes, [](uint32_t bits) { return DecodeE8m0(bits); });
    default:
      break;
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
