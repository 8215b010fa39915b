// The next chunks of a warp on their way from memory, which come while it works on those before.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/chunk.cuh"
#include "kernels/cuda/fused_geometry.h"

namespace quantd {
namespace {

inline constexpr uint32_t kWarpLanes = 32;
inline constexpr uint32_t kWarpChunks = kWarpLanes * kHeldChunks;

template <class Values>
struct alignas(16) ChunkStageMemory {
  std::byte bytes[kWarpChunks * Chunk<Values>::kBytes];
};

// In shared memory of one warp, whose lanes call its functions together. What goes from memory at once lies side by
// side there. Here 16 bytes are moved among their neighbours, so that lanes that take their chunks meet in no bank.
template <class Values>
class ChunkStage {
  static constexpr uint32_t kVectorBytes = sizeof(uint4);
  static constexpr uint32_t kVectors = Chunk<Values>::kBytes / kVectorBytes;

 public:
  // Chunks from `first` on and every `stride` behind them.
  __device__ ChunkStage(ChunkStageMemory<Values>& memory, const std::byte* values, uint32_t first, uint32_t stride)
      : stride_bytes_(stride * Chunk<Values>::kBytes),
        lane_(threadIdx.x % kWarpLanes),
        source_(values + uint64_t{first} * Chunk<Values>::kBytes + lane_ * kVectorBytes),
        target_(static_cast<uint32_t>(__cvta_generic_to_shared(memory.bytes)) +
                (lane_ ^ lane_ / 8 % kVectors) * kVectorBytes),
        taken_(memory.bytes + lane_ * kVectors * kVectorBytes),
        swap_(lane_ * kVectors / 8 % kVectors * kVectorBytes) {}

  // The next ones, of which `count` are there, and zeros for others.
  __device__ void Fetch(uint32_t count) {
    __syncwarp();
    if (count >= kWarpChunks) {
#pragma unroll
      for (uint32_t i = 0; i < kHeldChunks * kVectors; ++i) Copy(i, kVectorBytes);
    } else {
#pragma unroll
      for (uint32_t i = 0; i < kHeldChunks * kVectors; ++i) {
        Copy(i, i * kWarpLanes + lane_ < count * kVectors ? kVectorBytes : 0);
      }
    }
    source_ += stride_bytes_;
  }

  __device__ void Await() const {
    asm volatile("cp.async.wait_all;" ::: "memory");
    __syncwarp();
  }

  // Chunk i is the one that lies i * kWarpLanes behind the lane's first.
  __device__ void Take(Chunk<Values> (&chunks)[kHeldChunks]) const {
#pragma unroll
    for (uint32_t i = 0; i < kHeldChunks; ++i) {
      chunks[i] = Chunk<Values>([&](uint32_t vector) {
        return *reinterpret_cast<const uint4*>(taken_ + (vector * kVectorBytes ^ swap_) +
                                               i * kWarpLanes * Chunk<Values>::kBytes);
      });
    }
  }

 private:
  __device__ void Copy(uint32_t vector, uint32_t bytes) const {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(target_ + vector * kWarpLanes * kVectorBytes),
                 "l"(source_ + vector * kWarpLanes * kVectorBytes), "r"(bytes)
                 : "memory");
  }

  uint32_t stride_bytes_;
  uint32_t lane_;
  const std::byte* source_;
  uint32_t target_;
  const std::byte* taken_;
  uint32_t swap_;
};

}  // namespace
}  // namespace quantd
