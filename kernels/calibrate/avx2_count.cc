// The loops compiled for AVX2.
#if defined(__x86_64__)

// Before the target is chosen: what these define must run on every processor, because the linker keeps one copy of it.
#include <immintrin.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string_view>
#include <type_traits>

#include "kernels/calibrate/count_kernels.h"
#include "kernels/format/value_types.h"

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,bmi,bmi2")

#include "kernels/calibrate/quarter_reductions-inl.h"
#include "kernels/calibrate/simd_count-inl.h"

namespace quantd {
namespace {

struct Avx2CountLanes {
  using Register = __m256i;
  static constexpr size_t kBytes = 32;

  static Register Load(const void* source) { return _mm256_loadu_si256(static_cast<const __m256i*>(source)); }
  static void Store(void* target, Register a) { _mm256_storeu_si256(static_cast<__m256i*>(target), a); }

  template <class Bits>
  static Register Splat(Bits value) {
    if constexpr (sizeof(Bits) == 2) return _mm256_set1_epi16(static_cast<short>(value));
    return _mm256_set1_epi32(static_cast<int>(value));
  }
  template <class Bits>
  static Register MaxSigned(Register a, Register b) {
    if constexpr (sizeof(Bits) == 2) return _mm256_max_epi16(a, b);
    return _mm256_max_epi32(a, b);
  }
  template <class Bits>
  static Register MaxUnsigned(Register a, Register b) {
    if constexpr (sizeof(Bits) == 2) return _mm256_max_epu16(a, b);
    return _mm256_max_epu32(a, b);
  }
  template <class Bits>
  static Register MinUnsigned(Register a, Register b) {
    if constexpr (sizeof(Bits) == 2) return _mm256_min_epu16(a, b);
    return _mm256_min_epu32(a, b);
  }
  template <class Bits>
  static bool AnySignedNotBelow(Register a, Bits bound) {
    return AnyEqual<Bits>(MaxSigned<Bits>(a, Splat<Bits>(bound)), a);
  }
  template <class Bits>
  static bool AnyUnsignedNotBelow(Register a, Bits bound) {
    return AnyEqual<Bits>(MaxUnsigned<Bits>(a, Splat<Bits>(bound)), a);
  }
  template <class Bits>
  static int32_t HighestSigned(Register a) {
    const Register both = MaxSigned<Bits>(a, _mm256_permute2x128_si256(a, a, 1));
    return QuarterReductions::HighestSigned<Bits>(_mm256_castsi256_si128(both));
  }
  template <class Bits>
  static uint32_t HighestUnsigned(Register a) {
    const Register both = MaxUnsigned<Bits>(a, _mm256_permute2x128_si256(a, a, 1));
    return QuarterReductions::HighestUnsigned<Bits>(_mm256_castsi256_si128(both));
  }
  template <class Bits>
  static uint32_t LowestUnsigned(Register a) {
    const Register both = MinUnsigned<Bits>(a, _mm256_permute2x128_si256(a, a, 1));
    return QuarterReductions::LowestUnsigned<Bits>(_mm256_castsi256_si128(both));
  }

  // Of 32-bit lanes; the Wide ones of 64-bit lanes.
  static Register And(Register a, Register b) { return _mm256_and_si256(a, b); }
  static Register Or(Register a, Register b) { return _mm256_or_si256(a, b); }
  static Register Xor(Register a, Register b) { return _mm256_xor_si256(a, b); }
  static Register Add(Register a, Register b) { return _mm256_add_epi32(a, b); }
  static Register Subtract(Register a, Register b) { return _mm256_sub_epi32(a, b); }
  template <int kBits>
  static Register ShiftRight(Register a) {
    return _mm256_srli_epi32(a, kBits);
  }
  template <int kBits>
  static Register ShiftRightSigned(Register a) {
    return _mm256_srai_epi32(a, kBits);
  }
  static Register ShiftLeft(Register a, Register counts) { return _mm256_sllv_epi32(a, counts); }
  template <int kBits>
  static Register ShiftRightWide(Register a) {
    return _mm256_srli_epi64(a, kBits);
  }
  static Register ShiftLeftWide(Register a, Register counts) { return _mm256_sllv_epi64(a, counts); }
  static Register AddWide(Register a, Register b) { return _mm256_add_epi64(a, b); }
  static Register MultiplyEven(Register a, Register b) { return _mm256_mul_epu32(a, b); }
  static Register EvenOnly(Register a) { return And(a, _mm256_set1_epi64x(0xffffffff)); }
  static Register SignExtendEven(Register a) {
    const Register signs = _mm256_srai_epi32(_mm256_slli_epi64(a, 32), 31);
    return _mm256_blend_epi32(a, signs, 0b10101010);
  }
  static bool AllEqual(Register a) {
    const Register differs = _mm256_xor_si256(a, _mm256_broadcastd_epi32(_mm256_castsi256_si128(a)));
    return _mm256_testz_si256(differs, differs) != 0;
  }
  static bool AnyNegativeWhereNonzero(Register a, Register where) {
    const Register zero = _mm256_cmpeq_epi32(where, _mm256_setzero_si256());
    return _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_andnot_si256(zero, a))) != 0;
  }

 private:
  template <class Bits>
  static bool AnyEqual(Register a, Register b) {
    if constexpr (sizeof(Bits) == 2) return _mm256_movemask_epi8(_mm256_cmpeq_epi16(a, b)) != 0;
    return _mm256_movemask_epi8(_mm256_cmpeq_epi32(a, b)) != 0;
  }
};

}  // namespace

constinit const CountKernels kAvx2CountKernels = {
    "avx2",
    {SimdRun<Avx2CountLanes, Float32Values>, SimdRun<Avx2CountLanes, Float16Values>,
     SimdRun<Avx2CountLanes, BFloat16Values>},
    {RunByRun<Float32Values, SimdRun<Avx2CountLanes, Float32Values>>,
     RunByRun<Float16Values, SimdRun<Avx2CountLanes, Float16Values>>,
     RunByRun<BFloat16Values, SimdRun<Avx2CountLanes, BFloat16Values>>},
    {SimdColumns<Avx2CountLanes, Float32Values>, SimdColumns<Avx2CountLanes, Float16Values>,
     SimdColumns<Avx2CountLanes, BFloat16Values>},
    SimdCount32<Avx2CountLanes>};

}  // namespace quantd

#pragma GCC pop_options

#endif
