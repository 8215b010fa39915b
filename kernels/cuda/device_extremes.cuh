// Lowest and highest of finite values on the device, from their bits as they lie in words: two 16-bit values side by
// side, or a float32.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/calibrate/ordered_key.h"
#include "kernels/cuda/chunk.cuh"
#include "kernels/cuda/statistics_jobs.h"

namespace quantd {
namespace {

struct DeviceKeys {
  uint32_t lowest = kNoLowestKey;
  uint32_t highest = kNoHighestKey;

  __device__ void Merge(const DeviceKeys& other) {
    lowest = min(lowest, other.lowest);
    highest = max(highest, other.highest);
  }
  // Over the 2^`lanes_log2` neighbours of a warp, to all of them.
  __device__ void MergeLanes(uint32_t lanes_log2) {
    for (uint32_t step = 0; step < lanes_log2; ++step) {
      Merge({__shfl_xor_sync(0xffffffffu, lowest, 1 << step), __shfl_xor_sync(0xffffffffu, highest, 1 << step)});
    }
  }
  // Most have nothing to add, and do not wait for those that have.
  __device__ void MergeInto(DeviceBucket* bucket) const {
    if (lowest < *const_cast<const volatile uint32_t*>(&bucket->lowest_key)) atomicMin(&bucket->lowest_key, lowest);
    if (highest > *const_cast<const volatile uint32_t*>(&bucket->highest_key)) {
      atomicMax(&bucket->highest_key, highest);
    }
  }
};

template <class Values>
inline constexpr uint32_t kWordValues = 4 / sizeof(typename Values::Bits);

template <class Values>
__device__ inline typename Values::Bits WordValue(uint32_t word, uint32_t index) {
  return static_cast<typename Values::Bits>(word >> (index * 8 * sizeof(typename Values::Bits)));
}

template <class Values>
__device__ inline bool IsFiniteOnDevice(typename Values::Bits bits) {
  return (bits & Values::kMagnitudeMask) < Values::kInfinity;
}

// As Extremes of kernels/calibrate/count_kernels.h, of every place in a word by itself.
template <class Values>
struct DeviceExtremes {
  static constexpr bool kPairs = kWordValues<Values> == 2;
  static constexpr uint32_t kSigns = kPairs ? 0x80008000u : 0x80000000u;

  uint32_t signed_max = kSigns;
  uint32_t unsigned_max = 0;
  uint32_t unsigned_min = 0xffffffffu;

  __device__ void Include(uint32_t word) { Merge({word, word, word}); }
  __device__ void Merge(const DeviceExtremes& other) {
    if constexpr (kPairs) {
      signed_max = __vmaxs2(signed_max, other.signed_max);
      unsigned_max = __vmaxu2(unsigned_max, other.unsigned_max);
      unsigned_min = __vminu2(unsigned_min, other.unsigned_min);
    } else {
      signed_max = static_cast<uint32_t>(max(static_cast<int32_t>(signed_max), static_cast<int32_t>(other.signed_max)));
      unsigned_max = max(unsigned_max, other.unsigned_max);
      unsigned_min = min(unsigned_min, other.unsigned_min);
    }
  }

  // Of what was included: magnitudes, of which one at least is not below infinity.
  __device__ bool HasNonfinite() const {
    const uint32_t negative = unsigned_max ^ kSigns;
    if constexpr (kPairs) {
      constexpr uint32_t kUpToSign = 0x8000u - Values::kInfinity;
      return ((__vmaxs2(signed_max, negative) + (kUpToSign << 16 | kUpToSign)) & kSigns) != 0;
    } else {
      return max(static_cast<int32_t>(signed_max), static_cast<int32_t>(negative)) >=
             static_cast<int32_t>(Values::kInfinity);
    }
  }

  __device__ DeviceKeys KeysAt(uint32_t index) const {
    using Bits = typename Values::Bits;
    constexpr Bits kSign = static_cast<Bits>(uint32_t{Values::kMagnitudeMask} + 1);
    const Bits smallest = WordValue<Values>(unsigned_min, index);
    if (smallest == static_cast<Bits>(~Bits{0})) return {};
    const Bits largest = WordValue<Values>(unsigned_max, index);
    const Bits positive = WordValue<Values>(signed_max, index);
    return {Key(largest >= kSign ? largest : smallest), Key(positive < kSign ? positive : smallest)};
  }
  __device__ DeviceKeys Keys() const {
    DeviceKeys keys = KeysAt(0);
    if constexpr (kPairs) keys.Merge(KeysAt(1));
    return keys;
  }

  __device__ static uint32_t Key(typename Values::Bits bits) {
    const uint32_t widened = __float_as_uint(WidenOnDevice<Values>(bits));
    return (widened & 0x80000000u) != 0 ? ~widened : widened | 0x80000000u;
  }
};

// A vector of values of one bucket, whose non-finite ones are counted unless `nonfinite` is null. Those that are not
// finite are rare, and may take their time.
template <class Values>
__device__ DeviceExtremes<Values> ExtremesOf(const uint4& vector, unsigned long long* nonfinite) {
  const uint32_t words[4] = {vector.x, vector.y, vector.z, vector.w};
  DeviceExtremes<Values> extremes;
#pragma unroll
  for (const uint32_t word : words) extremes.Include(word);
  if (!extremes.HasNonfinite()) return extremes;
  extremes = {};
  uint32_t count = 0;
#pragma unroll
  for (const uint32_t word : words) {
#pragma unroll
    for (uint32_t i = 0; i < kWordValues<Values>; ++i) {
      const auto bits = WordValue<Values>(word, i);
      if (!IsFiniteOnDevice<Values>(bits)) {
        ++count;
      } else if constexpr (kWordValues<Values> == 2) {
        extremes.Include(bits * 0x10001u);
      } else {
        extremes.Include(bits);
      }
    }
  }
  if (nonfinite != nullptr) atomicAdd(nonfinite, static_cast<unsigned long long>(count));
  return extremes;
}

}  // namespace
}  // namespace quantd
