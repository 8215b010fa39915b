// AVX-512: 32 elements at a time, with codes and levels looked up in registers.
#if defined(__x86_64__)

// Before the target is chosen: what these define must run on every processor, because the linker keeps one copy of it.
#include <immintrin.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string_view>
#include <type_traits>

#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/threshold_bins.h"
#include "kernels/cpu/value_types.h"
#include "kernels/format/block_arithmetic.h"
#include "kernels/format/format_list.h"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,f16c,bmi,bmi2,lzcnt,popcnt")

#include "kernels/cpu/block_kernels-inl.h"

namespace quantd {
namespace {

constexpr uint32_t kLanes = 16;
constexpr uint32_t kStep = 2 * kLanes;

inline __m512 FlushToZeroLanes(__m512 values) {
  const __m512i bits = _mm512_castps_si512(values);
  const __mmask16 subnormal = _mm512_testn_epi32_mask(bits, _mm512_set1_epi32(0x7f800000));
  return _mm512_castsi512_ps(
      _mm512_mask_and_epi32(bits, subnormal, bits, _mm512_set1_epi32(static_cast<int>(0x80000000))));
}

template <class Values>
inline __m512 LoadLanes(const std::byte* values) {
  if constexpr (std::is_same_v<Values, Float32Values>) {
    return _mm512_loadu_ps(values);
  } else {
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(values));
    if constexpr (std::is_same_v<Values, Float16Values>) return _mm512_cvtph_ps(bits);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
  }
}

template <class Rules>
inline __m512 NormalizeLanes(__m512 values, __m512 factor) {
  if constexpr (std::is_same_v<Rules, StrictArithmetic>) {
    return _mm512_div_ps(values, factor);
  } else {
    return FlushToZeroLanes(_mm512_mul_ps(FlushToZeroLanes(values), factor));
  }
}

template <class Rules>
inline __m512 RestoreLanes(__m512 levels, __m512 scale) {
  if constexpr (std::is_same_v<Rules, StrictArithmetic>) {
    return _mm512_mul_ps(levels, scale);
  } else {
    return FlushToZeroLanes(_mm512_mul_ps(levels, FlushToZeroLanes(scale)));
  }
}

inline __m512i BinLanes(__m512 values) {
  return _mm512_castps_si512(
      _mm512_add_ps(_mm512_mul_ps(values, _mm512_set1_ps(kBinsPerUnit)), _mm512_set1_ps(kRoundingMagic)));
}

// Codes of normalized values, not NaN, in 32-bit lanes.
template <class Format>
struct Encoder;

template <>
struct Encoder<Nf4> {
  static constexpr ThresholdBins kBins = MakeThresholdBins(kNf4Thresholds);

  // Written out, because compilers build implicit constructors for the baseline target.
  Encoder()
      : threshold_low(_mm512_load_ps(kBins.threshold.data())),
        threshold_high(_mm512_load_ps(kBins.threshold.data() + kLanes)),
        rank_low(_mm512_load_si512(kBins.rank_below.data())),
        rank_high(_mm512_load_si512(kBins.rank_below.data() + kLanes)) {}

  __m512i operator()(__m512 values) const {
    const __m512i bins = BinLanes(values);
    const __m512 threshold = _mm512_permutex2var_ps(threshold_low, bins, threshold_high);
    const __m512i rank = _mm512_permutex2var_epi32(rank_low, bins, rank_high);
    const __mmask16 above = _mm512_cmp_ps_mask(values, threshold, _CMP_GT_OQ);
    return _mm512_mask_add_epi32(rank, above, rank, _mm512_set1_epi32(1));
  }

  __m512 threshold_low;
  __m512 threshold_high;
  __m512i rank_low;
  __m512i rank_high;
};

template <>
struct Encoder<Fp4Bnb> {
  // Magnitudes have bins 0 to 15 only, so one register holds a table.
  static constexpr ThresholdBins kBins = MakeThresholdBins(kFp4BnbThresholds);

  Encoder()
      : threshold_table(_mm512_load_ps(kBins.threshold.data())),
        rank_table(_mm512_load_si512(kBins.rank_below.data())) {}

  __m512i operator()(__m512 values) const {
    const __m512 magnitudes = _mm512_abs_ps(values);
    const __m512i bins = BinLanes(magnitudes);
    const __m512 threshold = _mm512_permutexvar_ps(bins, threshold_table);
    const __m512i rank_below = _mm512_permutexvar_epi32(bins, rank_table);
    const __mmask16 above = _mm512_cmp_ps_mask(magnitudes, threshold, _CMP_GT_OQ);
    const __m512i rank = _mm512_mask_add_epi32(rank_below, above, rank_below, _mm512_set1_epi32(1));
    const __m512i code = _mm512_xor_si512(rank, _mm512_slli_epi32(_mm512_and_si512(rank, _mm512_set1_epi32(2)), 1));
    const __mmask16 negative = _mm512_cmp_ps_mask(values, _mm512_setzero_ps(), _CMP_LT_OQ);
    return _mm512_mask_or_epi32(code, negative, code, _mm512_set1_epi32(8));
  }

  __m512 threshold_table;
  __m512i rank_table;
};

// Two codes to a byte, the first in the high nibble.
inline void StorePacked(__m512i first, __m512i second, std::byte* codes) {
  const __m256i bytes = _mm256_set_m128i(_mm512_cvtepi32_epi8(second), _mm512_cvtepi32_epi8(first));
  const __m256i pairs = _mm256_maddubs_epi16(bytes, _mm256_set1_epi16(0x0110));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(codes), _mm256_cvtepi16_epi8(pairs));
}

template <class Format>
constexpr std::array<float, kLanes> kLevels = [] {
  std::array<float, kLanes> levels{};
  for (uint8_t code = 0; code < kLanes; ++code) levels[code] = Format::Decode(code);
  return levels;
}();

// The bits of 16 values rounded to their type, repeated to fill a register; every NaN canonical.
template <class Values>
inline __m512i NarrowTable(__m512 values) {
  const __m512i bits = _mm512_castps_si512(values);
  const __mmask16 nan = _mm512_cmp_ps_mask(values, values, _CMP_UNORD_Q);
  if constexpr (std::is_same_v<Values, Float32Values>) {
    return _mm512_mask_mov_epi32(bits, nan, _mm512_set1_epi32(static_cast<int>(kCanonicalNan32)));
  } else {
    __m256i narrow;
    if constexpr (std::is_same_v<Values, Float16Values>) {
      narrow = _mm512_cvtps_ph(values, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    } else {
      const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
      const __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
      narrow = _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16));
    }
    narrow = _mm256_mask_mov_epi16(narrow, nan, _mm256_set1_epi16(kCanonicalNan16));
    return _mm512_broadcast_i64x4(narrow);
  }
}

struct Avx512Loops {
  template <class Values>
  static typename Values::Magnitude MaxMagnitude(const std::byte* values, uint32_t count) {
    constexpr size_t kValueBytes = sizeof(typename Values::Bits);
    constexpr uint32_t kValuesPerRegister = 64 / kValueBytes;
    if (count % kStep != 0) return PortableLoops::MaxMagnitude<Values>(values, count);
    if constexpr (kValueBytes == 4) {
      const __m512i mask = _mm512_set1_epi32(Values::kMagnitudeMask);
      __m512i largest = _mm512_setzero_si512();
      for (uint32_t i = 0; i < count; i += kValuesPerRegister) {
        largest = _mm512_max_epi32(largest, _mm512_and_si512(_mm512_loadu_si512(values + i * kValueBytes), mask));
      }
      return _mm512_reduce_max_epi32(largest);
    } else {
      const __m512i mask = _mm512_set1_epi16(Values::kMagnitudeMask);
      __m512i largest = _mm512_setzero_si512();
      for (uint32_t i = 0; i < count; i += kValuesPerRegister) {
        largest = _mm512_max_epi16(largest, _mm512_and_si512(_mm512_loadu_si512(values + i * kValueBytes), mask));
      }
      const __m256i halves = _mm256_max_epi16(_mm512_castsi512_si256(largest), _mm512_extracti64x4_epi64(largest, 1));
      const __m128i quarters = _mm_max_epi16(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1));
      // The instruction finds a minimum of unsigned values, which complements turn into the maximum.
      const __m128i complements = _mm_xor_si128(quarters, _mm_set1_epi16(-1));
      return static_cast<int16_t>(~_mm_extract_epi16(_mm_minpos_epu16(complements), 0));
    }
  }

  template <class Format, class Rules, class Values>
  static void Encode(const std::byte* values, uint32_t count, float factor, std::byte* codes) {
    // A block of zeros is all NaN to bitsandbytes, and NaN has no bin.
    const uint32_t vector_count = std::isinf(factor) ? 0 : count / kStep * kStep;
    constexpr size_t kValueBytes = sizeof(typename Values::Bits);
    const Encoder<Format> encode;
    const __m512 factors = _mm512_set1_ps(factor);
    for (uint32_t i = 0; i < vector_count; i += kStep) {
      const __m512 first = LoadLanes<Values>(values + i * kValueBytes);
      const __m512 second = LoadLanes<Values>(values + (i + kLanes) * kValueBytes);
      StorePacked(encode(NormalizeLanes<Rules>(first, factors)), encode(NormalizeLanes<Rules>(second, factors)),
                  codes + i / 2);
    }
    if (vector_count == count) return;
    PortableLoops::Encode<Format, Rules, Values>(values + vector_count * kValueBytes, count - vector_count, factor,
                                                 codes + vector_count / 2);
  }

  template <class Format, class Rules, class Values>
  static void Decode(const std::byte* codes, uint32_t count, float scale, std::byte* values) {
    constexpr size_t kValueBytes = sizeof(typename Values::Bits);
    const uint32_t vector_count = count / kStep * kStep;
    const __m512i table =
        NarrowTable<Values>(RestoreLanes<Rules>(_mm512_loadu_ps(kLevels<Format>.data()), _mm512_set1_ps(scale)));
    const __m128i low_nibble = _mm_set1_epi8(15);
    for (uint32_t i = 0; i < vector_count; i += kStep) {
      const __m128i pairs = _mm_loadu_si128(reinterpret_cast<const __m128i*>(codes + i / 2));
      const __m128i high = _mm_and_si128(_mm_srli_epi16(pairs, 4), low_nibble);
      const __m128i low = _mm_and_si128(pairs, low_nibble);
      const __m128i first = _mm_unpacklo_epi8(high, low);
      const __m128i second = _mm_unpackhi_epi8(high, low);
      if constexpr (kValueBytes == 4) {
        _mm512_storeu_si512(values + i * kValueBytes, _mm512_permutexvar_epi32(_mm512_cvtepu8_epi32(first), table));
        _mm512_storeu_si512(values + (i + kLanes) * kValueBytes,
                            _mm512_permutexvar_epi32(_mm512_cvtepu8_epi32(second), table));
      } else {
        const __m512i indices = _mm512_cvtepu8_epi16(_mm256_set_m128i(second, first));
        _mm512_storeu_si512(values + i * kValueBytes, _mm512_permutexvar_epi16(indices, table));
      }
    }
    if (vector_count == count) return;
    PortableLoops::Decode<Format, Rules, Values>(codes + vector_count / 2, count - vector_count, scale,
                                                 values + vector_count * kValueBytes);
  }
};

}  // namespace

constinit const KernelTable kAvx512Kernels = MakeKernelTable<Avx512Loops>("avx512");

}  // namespace quantd

#pragma GCC pop_options

#endif
