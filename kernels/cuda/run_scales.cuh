// A run's scale from its range, whichever of the methods that go with a transform it is.
#pragma once

#include "kernels/cuda/device_formats.cuh"
#include "kernels/format/bitsandbytes_scales.h"
#include "kernels/format/compressed_tensors_scales.h"
#include "kernels/format/mx_scales.h"
#include "kernels/format/strict_scales.h"
#include "kernels/scheme/recipe.h"

namespace quantd {
namespace {

template <template <class> class Method>
__device__ RunScale MakeRounded(DataType rounding, const RunRange& range, const ScaleParameters& parameters) {
  if (rounding == DataType::kFloat16) return Method<Float16Scale>::Make(range, parameters);
  if (rounding == DataType::kBFloat16) return Method<BFloat16Scale>::Make(range, parameters);
  return Method<Float32Scale>::Make(range, parameters);
}

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
        return MakeRounded<CompressedTensorsNvfp4>(rounding, range, parameters);
      }
    }
    if (method == ScaleMethod::kStrictSymmetric) return MakeRounded<StrictSymmetric>(rounding, range, parameters);
    return MakeRounded<CompressedTensorsSymmetric>(rounding, range, parameters);
  }
}

// The scale of run `run` as a float.
__device__ inline float RestoreRunScale(ScaleMethod method, DataType rounding, const std::byte* stored, uint64_t run,
                                        const ScaleParameters& parameters) {
  switch (method) {
    case ScaleMethod::kCompressedTensorsNvfp4:
      return CompressedTensorsNvfp4<Float32Scale>::Restore(static_cast<uint32_t>(stored[run]), parameters);
    case ScaleMethod::kCompressedTensorsMx:
    case ScaleMethod::kMxFloor:
    case ScaleMethod::kMxCeil:
    case ScaleMethod::kMxEven:
    case ScaleMethod::kMxRceil:
      return DecodeE8m0(static_cast<uint32_t>(stored[run]));
    default:
      break;
  }
  if (rounding == DataType::kFloat32) return reinterpret_cast<const float*>(stored)[run];
  const uint16_t bits = reinterpret_cast<const uint16_t*>(stored)[run];
  return rounding == DataType::kFloat16 ? Float16Scale::FromBits(bits) : BFloat16Scale::FromBits(bits);
}

}  // namespace
}  // namespace quantd
