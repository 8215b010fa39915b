// AVX2: the portable loops compiled for it, and a decoder that looks levels up in registers.
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

#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/value_types.h"
#include "kernels/format/block_arithmetic.h"
#include "kernels/format/format_list.h"

#pragma GCC push_options
#pragma GCC target("avx2,bmi,bmi2,lzcnt,popcnt")

#include "kernels/cpu/block_kernels-inl.h"

namespace quantd {
namespace {

constexpr uint32_t kStep = 32;

// Two-byte entries as two tables of bytes.
struct ByteTables {
  __m256i low;
  __m256i high;
};

inline ByteTables SplitBytes(const uint16_t (&entries)[16]) {
  const __m128i first = _mm_loadu_si128(reinterpret_cast<const __m128i*>(entries));
  const __m128i second = _mm_loadu_si128(reinterpret_cast<const __m128i*>(entries + 8));
  const __m128i low_byte = _mm_set1_epi16(0xff);
  const __m128i low = _mm_packus_epi16(_mm_and_si128(first, low_byte), _mm_and_si128(second, low_byte));
  const __m128i high = _mm_packus_epi16(_mm_srli_epi16(first, 8), _mm_srli_epi16(second, 8));
  return {_mm256_broadcastsi128_si256(low), _mm256_broadcastsi128_si256(high)};
}

// The codes of 32 elements, one to a byte, each half of the register with 16 elements in order.
inline __m256i UnpackNibbles(const std::byte* codes) {
  const __m128i pairs = _mm_loadu_si128(reinterpret_cast<const __m128i*>(codes));
  const __m128i low_nibble = _mm_set1_epi8(15);
  const __m128i high = _mm_and_si128(_mm_srli_epi16(pairs, 4), low_nibble);
  const __m128i low = _mm_and_si128(pairs, low_nibble);
  return _mm256_set_m128i(_mm_unpackhi_epi8(high, low), _mm_unpacklo_epi8(high, low));
}

struct Avx2Loops : PortableLoops {
  template <class Format, class Rules, class Values>
  static void Decode(const std::byte* codes, uint32_t count, float scale, std::byte* values) {
    using Bits = typename Values::Bits;
    const uint32_t vector_count = count / kStep * kStep;
    Bits restored[16];
    for (uint8_t code = 0; code < 16; ++code) {
      restored[code] = Values::Narrow(Rules::Restore(Format::Decode(code), scale));
    }
    if constexpr (sizeof(Bits) == 2) {
      const ByteTables tables = SplitBytes(restored);
      for (uint32_t i = 0; i < vector_count; i += kStep) {
        const __m256i indices = UnpackNibbles(codes + i / 2);
        const __m256i low = _mm256_shuffle_epi8(tables.low, indices);
        const __m256i high = _mm256_shuffle_epi8(tables.high, indices);
        const __m256i even = _mm256_unpacklo_epi8(low, high);
        const __m256i odd = _mm256_unpackhi_epi8(low, high);
        auto* target = reinterpret_cast<__m256i*>(values + i * sizeof(uint16_t));
        _mm256_storeu_si256(target, _mm256_permute2x128_si256(even, odd, 0x20));
        _mm256_storeu_si256(target + 1, _mm256_permute2x128_si256(even, odd, 0x31));
      }
    } else {
      const __m256i table_low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(restored));
      const __m256i table_high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(restored + 8));
      for (uint32_t i = 0; i < vector_count; i += 8) {
        uint32_t packed;
        std::memcpy(&packed, codes + i / 2, sizeof(packed));
        // Element e lies in the nibble at bit 4 · (e XOR 1).
        const __m256i indices = _mm256_srlv_epi32(_mm256_set1_epi32(static_cast<int>(packed)),
                                                  _mm256_setr_epi32(4, 0, 12, 8, 20, 16, 28, 24));
        const __m256i from_low = _mm256_permutevar8x32_epi32(table_low, indices);
        const __m256i from_high = _mm256_permutevar8x32_epi32(table_high, indices);
        // Bit 3 of the index becomes the sign that the blend looks at.
        const __m256 choose_high = _mm256_castsi256_ps(_mm256_slli_epi32(indices, 28));
        _mm256_storeu_ps(reinterpret_cast<float*>(values + i * sizeof(float)),
                         _mm256_blendv_ps(_mm256_castsi256_ps(from_low), _mm256_castsi256_ps(from_high), choose_high));
      }
    }
    if (vector_count == count) return;
    PortableLoops::Decode<Format, Rules, Values>(codes + vector_count / 2, count - vector_count, scale,
                                                 values + vector_count * sizeof(Bits));
  }
};

}  // namespace

constinit const KernelTable kAvx2Kernels = MakeKernelTable<Avx2Loops>("avx2");

}  // namespace quantd

#pragma GCC pop_options

#endif
