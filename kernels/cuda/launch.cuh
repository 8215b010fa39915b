// One thread for each of `count` items.
#pragma once

#include <cstdint>

namespace quantd {
namespace {

inline constexpr uint32_t kBlockThreads = 256;

// Grids are limited; the kernels' loops stride by all threads.
inline uint32_t BlocksFor(uint64_t threads) {
  constexpr uint64_t kBlocksMax = 1 << 20;
  const uint64_t blocks = (threads + kBlockThreads - 1) / kBlockThreads;
  return static_cast<uint32_t>(blocks < kBlocksMax ? blocks : kBlocksMax);
}

// `blocks` for each of some tensors.
inline dim3 GridOf(uint64_t blocks, uint64_t tensors) {
  return dim3(static_cast<uint32_t>(blocks), static_cast<uint32_t>(tensors));
}

__device__ inline uint64_t ThreadIndex() { return uint64_t{blockIdx.x} * blockDim.x + threadIdx.x; }
__device__ inline uint64_t ThreadCount() { return uint64_t{gridDim.x} * blockDim.x; }

}  // namespace
}  // namespace quantd
