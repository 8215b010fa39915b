#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "tests/benchmark/device_copy.h"

namespace quantd::testing {
namespace {

constexpr uint32_t kThreads = 256;

__global__ void VectorCopy(uint4* target, const uint4* source, uint64_t count) {
  const uint64_t i = (uint64_t{blockIdx.x} * kThreads * 2) + threadIdx.x;
  if (i + kThreads < count) {
    const uint4 first = __ldcs(source + i);
    const uint4 second = __ldcs(source + i + kThreads);
    __stcs(target + i, first);
    __stcs(target + i + kThreads, second);
  } else if (i < count) {
    __stcs(target + i, __ldcs(source + i));
  }
}

__global__ void VectorRead(uint4* target, const uint4* source, uint64_t count) {
  constexpr uint32_t kAtOnce = 4;
  const uint64_t first = uint64_t{blockIdx.x} * kThreads * kAtOnce + threadIdx.x;
  uint4 loaded[kAtOnce];
#pragma unroll
  for (uint32_t i = 0; i < kAtOnce; ++i) loaded[i] = __ldcs(source + min(first + i * kThreads, count - 1));
  uint32_t all = 0xffffffffu;
#pragma unroll
  for (const uint4& vector : loaded) all &= vector.x & vector.y & vector.z & vector.w;
  if (all == 0xffffffffu) target[threadIdx.x] = loaded[0];
}

// Sums of four uniform bytes pairs are near enough to a normal distribution.
__device__ float NormalOf(uint64_t index, uint32_t seed) {
  uint64_t state = index * 0x9e3779b97f4a7c15u + seed;
  state = (state ^ state >> 30) * 0xbf58476d1ce4e5b9u;
  state = (state ^ state >> 27) * 0x94d049bb133111ebu;
  state ^= state >> 31;
  const auto sum =
      static_cast<float>((state & 0xffff) + (state >> 16 & 0xffff) + (state >> 32 & 0xffff) + (state >> 48));
  return (sum - 131070.0f) / 37837.0f;
}

template <class T>
__global__ void NormalValues(T* values, uint64_t count, uint32_t seed) {
  for (uint64_t i = uint64_t{blockIdx.x} * kThreads + threadIdx.x; i < count; i += uint64_t{gridDim.x} * kThreads) {
    values[i] = static_cast<T>(NormalOf(i, seed));
  }
}

}  // namespace

void LaunchVectorCopy(std::byte* target, const std::byte* source, uint64_t bytes, cudaStream_t stream) {
  const uint64_t count = bytes / sizeof(uint4);
  VectorCopy<<<static_cast<uint32_t>((count + kThreads * 2 - 1) / (kThreads * 2)), kThreads, 0, stream>>>(
      reinterpret_cast<uint4*>(target), reinterpret_cast<const uint4*>(source), count);
}

void LaunchVectorRead(std::byte* target, const std::byte* source, uint64_t bytes, cudaStream_t stream) {
  const uint64_t count = bytes / sizeof(uint4);
  VectorRead<<<static_cast<uint32_t>((count + kThreads * 4 - 1) / (kThreads * 4)), kThreads, 0, stream>>>(
      reinterpret_cast<uint4*>(target), reinterpret_cast<const uint4*>(source), count);
}

void LaunchNormalValues(std::byte* values, uint64_t element_count, DataType dtype, uint32_t seed, cudaStream_t stream) {
  constexpr uint32_t kBlocks = 4096;
  if (dtype == DataType::kFloat32) {
    NormalValues<<<kBlocks, kThreads, 0, stream>>>(reinterpret_cast<float*>(values), element_count, seed);
  } else if (dtype == DataType::kFloat16) {
    NormalValues<<<kBlocks, kThreads, 0, stream>>>(reinterpret_cast<__half*>(values), element_count, seed);
  } else {
    NormalValues<<<kBlocks, kThreads, 0, stream>>>(reinterpret_cast<__nv_bfloat16*>(values), element_count, seed);
  }
}

}  // namespace quantd::testing
