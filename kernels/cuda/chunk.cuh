// Sixteen values of one thread in its registers, as they lie in memory.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "kernels/format/scale_types.h"
#include "kernels/format/value_types.h"

namespace quantd {
namespace {

inline constexpr uint32_t kChunkElements = 16;

// Exact, as Values::Widen.
template <class Values>
__device__ inline float WidenOnDevice(typename Values::Bits bits) {
  return Values::Widen(bits);
}
template <>
__device__ inline float WidenOnDevice<Float16Values>(uint16_t bits) {
  return __half2float(__ushort_as_half(bits));
}

// Magnitudes as bits of float32, so that NaN is above all others.
struct DeviceRange {
  uint32_t lowest = 0;   // of a negative value
  uint32_t highest = 0;  // of a positive value

  __device__ uint32_t absmax() const { return max(lowest, highest); }
  __device__ RunRange Floats() const {
    return {__uint_as_float(absmax()), lowest == 0 ? 0.0f : -__uint_as_float(lowest), __uint_as_float(highest)};
  }
};

template <class Values>
class Chunk {
 public:
  using Bits = typename Values::Bits;
  static constexpr uint32_t kBytes = kChunkElements * sizeof(Bits);

  Chunk() = default;  // registers of any content
  // `source` is aligned to 16 bytes.
  __device__ explicit Chunk(const std::byte* source) {
#pragma unroll
    for (uint32_t i = 0; i < kVectors; ++i) vectors_[i] = __ldcs(reinterpret_cast<const uint4*>(source) + i);
  }

  // `vector(i)`: its 16 bytes from i * 16 on.
  template <class Vector>
    requires std::is_invocable_r_v<uint4, Vector, uint32_t>
  __device__ explicit Chunk(const Vector& vector) {
#pragma unroll
    for (uint32_t i = 0; i < kVectors; ++i) vectors_[i] = vector(i);
  }

  // `index` is known once loops are unrolled.
  __device__ float operator[](int index) const {
    if constexpr (sizeof(Bits) == 4) {
      return __uint_as_float(Word(index));
    } else {
      const uint32_t word = Word(index / 2);
      if constexpr (std::is_same_v<Values, BFloat16Values>) {
        return __uint_as_float(index % 2 == 0 ? word << 16 : word & 0xffff0000u);
      } else {
        return WidenOnDevice<Values>(static_cast<uint16_t>(index % 2 == 0 ? word : word >> 16));
      }
    }
  }

  // Bits of positive values are ordered as signed integers are, bits of negative ones as the largest unsigned ones.
  __device__ DeviceRange Range() const {
    uint32_t above = Word(0);
    uint32_t below = Word(0);
#pragma unroll
    for (int i = 1; i + 1 < kWords; i += 2) {
      above = Max3Signed(above, Word(i), Word(i + 1));
      below = Max3Unsigned(below, Word(i), Word(i + 1));
    }
    above = Max3Signed(above, Word(kWords - 1), 0);
    below = Max3Unsigned(below, Word(kWords - 1), kSigns);
    if constexpr (sizeof(Bits) == 4) {
      return {below & ~kSigns, above};
    } else {
      const auto widened = [](uint32_t magnitudes) {
        return __float_as_uint(
            WidenOnDevice<Values>(static_cast<uint16_t>(max(magnitudes & 0xffff, magnitudes >> 16))));
      };
      return {widened(below & ~kSigns), widened(above)};
    }
  }

  // The largest magnitude, as bits of float32; above infinity's if there is a NaN.
  __device__ uint32_t Absmax() const {
    if constexpr (sizeof(Bits) == 4) {
      return Range().absmax();
    } else {
      using Pair = std::conditional_t<std::is_same_v<Values, BFloat16Values>, __nv_bfloat162, __half2>;
      const auto pair = [&](int index) {
        const uint32_t word = Word(index);
        return __habs2(reinterpret_cast<const Pair&>(word));
      };
      Pair largest = pair(0);
#pragma unroll
      for (int i = 1; i < kWords; ++i) largest = __hmax2_nan(largest, pair(i));
      return __float_as_uint(Widened(__hmax_nan(largest.x, largest.y)));
    }
  }

 private:
  __device__ static float Widened(__nv_bfloat16 value) { return __bfloat162float(value); }
  __device__ static float Widened(__half value) { return __half2float(value); }

  static constexpr uint32_t kVectors = kBytes / 16;
  static constexpr int kWords = kBytes / 4;
  static constexpr uint32_t kSigns = sizeof(Bits) == 4 ? 0x80000000u : 0x80008000u;

  __device__ uint32_t Word(int index) const {
    const uint4& vector = vectors_[index / 4];
    return index % 4 == 0 ? vector.x : index % 4 == 1 ? vector.y : index % 4 == 2 ? vector.z : vector.w;
  }
  __device__ static uint32_t Max3Signed(uint32_t a, uint32_t b, uint32_t c) {
    if constexpr (sizeof(Bits) == 4) {
      return static_cast<uint32_t>(
          __vimax3_s32(static_cast<int32_t>(a), static_cast<int32_t>(b), static_cast<int32_t>(c)));
    } else {
      return __vimax3_s16x2(a, b, c);
    }
  }
  __device__ static uint32_t Max3Unsigned(uint32_t a, uint32_t b, uint32_t c) {
    if constexpr (sizeof(Bits) == 4) {
      return __vimax3_u32(a, b, c);
    } else {
      return __vimax3_u16x2(a, b, c);
    }
  }

  uint4 vectors_[kVectors];
};

}  // namespace
}  // namespace quantd
