// Extremes of the lanes of 16 bytes. Included by both vector targets.
#pragma once

namespace quantd {
namespace {

struct QuarterReductions {
  static __m128i SwapHalves(__m128i a) { return _mm_shuffle_epi32(a, 0x4e); }
  static __m128i SwapNeighbours(__m128i a) { return _mm_shuffle_epi32(a, 0xb1); }

  template <class Bits>
  static uint32_t LowestUnsigned(__m128i a) {
    if constexpr (sizeof(Bits) == 2) {
      return static_cast<uint32_t>(_mm_cvtsi128_si32(_mm_minpos_epu16(a))) & 0xffffu;
    } else {
      const __m128i pairs = _mm_min_epu32(a, SwapHalves(a));
      return static_cast<uint32_t>(_mm_cvtsi128_si32(_mm_min_epu32(pairs, SwapNeighbours(pairs))));
    }
  }
  template <class Bits>
  static uint32_t HighestUnsigned(__m128i a) {
    return static_cast<Bits>(~LowestUnsigned<Bits>(_mm_xor_si128(a, _mm_set1_epi32(-1))));
  }
  template <class Bits>
  static int32_t HighestSigned(__m128i a) {
    // With the sign bit turned over, signed order is unsigned order.
    constexpr uint32_t kSigns = sizeof(Bits) == 2 ? 0x80008000u : 0x80000000u;
    const __m128i turned = _mm_xor_si128(a, _mm_set1_epi32(static_cast<int>(kSigns)));
    const auto highest = static_cast<Bits>(HighestUnsigned<Bits>(turned) ^ (kSigns & static_cast<Bits>(~Bits{0})));
    return static_cast<std::make_signed_t<Bits>>(highest);
  }
};

}  // namespace
}  // namespace quantd
