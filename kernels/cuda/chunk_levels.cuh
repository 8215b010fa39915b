// Levels of a thread's codes, a few that lie in one word or two.
#pragma once

#include "kernels/cuda/device_formats.cuh"
#include "kernels/cuda/fp8_pairs.cuh"

namespace quantd {
namespace {

// Formats of 4 bits: each lane of a warp has the level of a code, where shuffles find it.
template <class Format>
class ChunkLevels {
 public:
  static_assert(Format::kBits == 4);
  __device__ explicit ChunkLevels(uint32_t code_xor)
      : lane_level_(OnDevice<Format>::Decode((threadIdx.x & 15) ^ code_xor)) {}

  // Of the codes in `bits`, from the lowest on as they lie in memory. All lanes of the warp together.
  template <uint32_t kCount>
  __device__ void Decode(uint64_t bits, float (&levels)[kCount]) const {
    const auto word = static_cast<uint32_t>(bits);
#pragma unroll
    for (uint32_t i = 0; i < kCount; ++i) {
      const uint32_t place = Format::kFirstInHighNibble ? i ^ 1 : i;
      levels[i] = __shfl_sync(0xffffffffu, lane_level_, static_cast<int>(word >> (4 * place)), 16);
    }
  }

 private:
  float lane_level_;
};

// 2^23 as bits. Only of constant memory it comes into a register, and what bytes are selected into the instruction.
__constant__ uint32_t kTwoTo23 = 0x4b000000u;

// Integers come with kBias added, which goes with the zero point: both are integers far below 2^24, so one subtraction
// of their sum is exact.
template <>
class ChunkLevels<Int4> {
 public:
  static constexpr float kBias = 0x1p23f + 8;

  __device__ explicit ChunkLevels(uint32_t code_xor) : flip_((code_xor ^ 8) * 0x11111111u) {}

  template <uint32_t kCount>
  __device__ void Decode(uint64_t bits, float (&levels)[kCount]) const {
    const uint32_t word = static_cast<uint32_t>(bits) ^ flip_;
    const uint32_t nibbles[2] = {word & 0x0f0f0f0fu, word >> 4 & 0x0f0f0f0fu};
#pragma unroll
    for (uint32_t i = 0; i < kCount; ++i) {
      const uint32_t place = Int4::kFirstInHighNibble ? i ^ 1 : i;
      // The nibble as the last of 2^23's significand.
      levels[i] = __uint_as_float(__byte_perm(nibbles[place % 2], kTwoTo23, 0x7540 + place / 2));
    }
  }

 private:
  uint32_t flip_;
};

template <>
class ChunkLevels<Int8> {
 public:
  static constexpr float kBias = 0x1p23f + 128;

  __device__ explicit ChunkLevels(uint32_t code_xor) : flip_((code_xor ^ 0x80) * 0x01010101u) {}

  template <uint32_t kCount>
  __device__ void Decode(uint64_t bits, float (&levels)[kCount]) const {
#pragma unroll
    for (uint32_t i = 0; i < kCount; ++i) {
      const uint32_t word = static_cast<uint32_t>(bits >> (i / 4 * 32)) ^ flip_;
      // The byte as the last of 2^23's significand.
      levels[i] = __uint_as_float(__byte_perm(word, kTwoTo23, 0x7540 + i % 4));
    }
  }

 private:
  uint32_t flip_;
};

template <class Format>
class Fp8ChunkLevels {
 public:
  __device__ explicit Fp8ChunkLevels(uint32_t) {}

  template <uint32_t kCount>
  __device__ void Decode(uint64_t bits, float (&levels)[kCount]) const {
#pragma unroll
    for (uint32_t i = 0; i < kCount; i += 2) {
      const float2 pair = WidenedPair<Format>(static_cast<uint32_t>(bits >> (i * 8)));
      levels[i] = pair.x;
      levels[i + 1] = pair.y;
    }
  }
};
template <>
class ChunkLevels<Fp8E4m3> : public Fp8ChunkLevels<Fp8E4m3> {
  using Fp8ChunkLevels<Fp8E4m3>::Fp8ChunkLevels;
};
template <>
class ChunkLevels<Fp8E5m2> : public Fp8ChunkLevels<Fp8E5m2> {
  using Fp8ChunkLevels<Fp8E5m2>::Fp8ChunkLevels;
};

// A table in shared memory, which the CTA makes together.
template <>
class ChunkLevels<Dynamic8> {
 public:
  __device__ explicit ChunkLevels(uint32_t) {
    __shared__ float table[256];
    for (uint32_t i = threadIdx.x; i < 256; i += blockDim.x) table[i] = __uint_as_float(kDynamic8LevelTable.entries[i]);
    __syncthreads();
    levels_ = table;
  }

  template <uint32_t kCount>
  __device__ void Decode(uint64_t bits, float (&levels)[kCount]) const {
#pragma unroll
    for (uint32_t i = 0; i < kCount; ++i) levels[i] = levels_[bits >> (i * 8) & 255];
  }

 private:
  const float* levels_;
};

}  // namespace
}  // namespace quantd
