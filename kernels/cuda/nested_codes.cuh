// Double quantization on the device: a block's scales as codes, and back. As kernels/cpu/nested_scales.cc.
#pragma once

#include <cfloat>

#include "kernels/cuda/chunk_codes.cuh"
#include "kernels/cuda/device_formats.cuh"
#include "kernels/cuda/fp8_pairs.cuh"
#include "kernels/format/strict_scales.h"

namespace quantd {
namespace {

struct NestedDynamic8 {
  __device__ static RunScale ScaleOf(float absmax) { return DeviceBitsandbytesAbsmax::Make({absmax, 0, 0}, {}); }
  __device__ static uint32_t Encode(float difference, float factor, float absmax) {
    // One word of a table instead of eight, for what the table has.
    if (fabsf(difference) <= absmax && HasDynamic8Words(factor)) {
      return Dynamic8Sum(difference * (factor * 0x1p-95f), kDynamic8WordTable.words + kDynamic8HalfWords) >> 24;
    }
    return OnDevice<Dynamic8>::Encode(MultiplyFtz(difference, factor));
  }
  __device__ static float Decode(uint32_t code, float scale) {
    return MultiplyFtz(OnDevice<Dynamic8>::Decode(code), scale);
  }
};

struct NestedE4m3 {
  __device__ static RunScale ScaleOf(float absmax) {
    return StrictSymmetric<Float32Scale>::Make({absmax, 0, 0}, {.divisor = Fp8E4m3::kLargest});
  }
  __device__ static uint32_t Encode(float difference, float factor, float) {
    return Fp8E4m3::Encode(difference / factor);
  }
  __device__ static float Decode(uint32_t code, float scale) { return WidenedPair<Fp8E4m3>(code).x * scale; }
};

// The largest of all threads of the CTA, to all of them. Threads meet in it.
__device__ inline float LargestOfCta(float value, float (&of_warps)[32]) {
  for (int distance = 16; distance > 0; distance /= 2) {
    value = fmaxf(value, __shfl_xor_sync(kEveryLane, value, distance));
  }
  if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = value;
  __syncthreads();
  for (uint32_t i = 0; i < blockDim.x / 32; ++i) value = fmaxf(value, of_warps[i]);
  return value;
}

// All threads of the CTA together. `scales` are a nested block, or what is left for the last one.
template <class Nested>
__device__ void EncodeNestedBlock(const float* scales, uint32_t count, float offset, std::byte* codes,
                                  float* nested_scale) {
  __shared__ float of_warps[32];
  // As fmaxf finds it from -FLT_MAX up: NaN is passed over, and the padding of a short block counts as 0.
  float absmax = count < kNestedBlockScales ? 0 : -FLT_MAX;
  for (uint32_t i = threadIdx.x; i < count; i += blockDim.x) absmax = fmaxf(absmax, fabsf(scales[i] - offset));
  absmax = LargestOfCta(absmax, of_warps);
  const RunScale nested = Nested::ScaleOf(absmax);
  for (uint32_t i = threadIdx.x; i < count; i += blockDim.x) {
    codes[i] = static_cast<std::byte>(Nested::Encode(scales[i] - offset, nested.factor, absmax));
  }
  if (threadIdx.x == 0) *nested_scale = __uint_as_float(nested.stored);
}

__device__ inline void EncodeNestedBlock(NestedCode code, const float* scales, uint32_t count, float offset,
                                         std::byte* codes, float* nested_scale) {
  if (code == NestedCode::kDynamic8) {
    EncodeNestedBlock<NestedDynamic8>(scales, count, offset, codes, nested_scale);
  } else {
    EncodeNestedBlock<NestedE4m3>(scales, count, offset, codes, nested_scale);
  }
}

__device__ inline float DecodeNestedScale(NestedCode code, uint32_t bits, float nested_scale, float offset) {
  return (code == NestedCode::kDynamic8 ? NestedDynamic8::Decode(bits, nested_scale)
                                        : NestedE4m3::Decode(bits, nested_scale)) +
         offset;
}

}  // namespace
}  // namespace quantd
