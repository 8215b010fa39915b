// Two 8-bit floats at once, by the instructions of GPUs that have them.
#pragma once

#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

#include "kernels/format/mini_float.h"

namespace quantd {
namespace {

// Two codes, the first in the low byte.
template <class Format>
__device__ inline uint32_t ConvertedPair(float first, float second) {
#if __CUDA_ARCH__ >= 890
  uint16_t pair;
  if constexpr (std::is_same_v<Format, Fp8E4m3>) {
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(second), "f"(first));
  } else {
    asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(second), "f"(first));
  }
  return pair;
#else
  return Format::Encode(first) | Format::Encode(second) << 8;
#endif
}

// The values of two codes, exact; NaN stays NaN.
template <class Format>
__device__ inline float2 WidenedPair(uint32_t pair) {
#if __CUDA_ARCH__ >= 890
  // float16 holds both formats.
  uint32_t halves;
  if constexpr (std::is_same_v<Format, Fp8E4m3>) {
    asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(halves) : "h"(static_cast<uint16_t>(pair)));
  } else {
    asm("cvt.rn.f16x2.e5m2x2 %0, %1;" : "=r"(halves) : "h"(static_cast<uint16_t>(pair)));
  }
  return {__half2float(__ushort_as_half(static_cast<uint16_t>(halves))),
          __half2float(__ushort_as_half(static_cast<uint16_t>(halves >> 16)))};
#else
  return {Format::Decode(pair & 255), Format::Decode(pair >> 8 & 255)};
#endif
}

}  // namespace
}  // namespace quantd
