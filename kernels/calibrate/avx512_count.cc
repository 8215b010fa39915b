// The loops compiled for AVX-512.
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
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

#include "kernels/calibrate/quarter_reductions-inl.h"
#include "kernels/calibrate/simd_count-inl.h"

namespace quantd {
namespace {

struct Avx512CountLanes {
  using Register = __m512i;
  static constexpr size_t kBytes = 64;

  static Register Load(const void* source) { return _mm512_loadu_si512(source); }
  static void Store(void* target, Register a) { _mm512_storeu_si512(target, a); }

  template <class Bits>
  static Register Splat(Bits value) {
    if constexpr (sizeof(Bits) == 2) return _mm512_set1_epi16(static_cast<short>(value));
    return _mm512_set1_epi32(static_cast<int>(value));
  }
  template <class Bits>
  static Register MaxSigned(Register a, Register b) {
    if constexpr (sizeof(Bits) == 2) return _mm512_max_epi16(a, b);
    return _mm512_max_epi32(a, b);
  }
  template <class Bits>
  static Register MaxUnsigned(Register a, Register b) {
    if constexpr (sizeof(Bits) == 2) return _mm512_max_epu16(a, b);
    return _mm512_max_epu32(a, b);
  }
  template <class Bits>
  static Register MinUnsigned(Register a, Register b) {
    if constexpr (sizeof(Bits) == 2) return _mm512_min_epu16(a, b);
    return _mm512_min_epu32(a, b);
  }
  template <class Bits>
  static bool AnySignedNotBelow(Register a, Bits bound) {
    if constexpr (sizeof(Bits) == 2) return _mm512_cmpge_epi16_mask(a, Splat<Bits>(bound)) != 0;
    return _mm512_cmpge_epi32_mask(a, Splat<Bits>(bound)) != 0;
  }
  template <class Bits>
  static bool AnyUnsignedNotBelow(Register a, Bits bound) {
    if constexpr (sizeof(Bits) == 2) return _mm512_cmpge_epu16_mask(a, Splat<Bits>(bound)) != 0;
    return _mm512_cmpge_epu32_mask(a, Splat<Bits>(bound)) != 0;
  }
  template <class Bits>
  static int32_t HighestSigned(Register a) {
    const Register halves = MaxSigned<Bits>(a, _mm512_shuffle_i64x2(a, a, 0x4e));
    return QuarterReductions::HighestSigned<Bits>(
        _mm512_castsi512_si128(MaxSigned<Bits>(halves, _mm512_shuffle_i64x2(halves, halves, 0xb1))));
  }
  template <class Bits>
  static uint32_t HighestUnsigned(Register a) {
    const Register halves = MaxUnsigned<Bits>(a, _mm512_shuffle_i64x2(a, a, 0x4e));
    return QuarterReductions::HighestUnsigned<Bits>(
        _mm512_castsi512_si128(MaxUnsigned<Bits>(halves, _mm512_shuffle_i64x2(halves, halves, 0xb1))));
  }
  template <class Bits>
  static uint32_t LowestUnsigned(Register a) {
    const Register halves = MinUnsigned<Bits>(a, _mm512_shuffle_i64x2(a, a, 0x4e));
    return QuarterReductions::LowestUnsigned<Bits>(
        _mm512_castsi512_si128(MinUnsigned<Bits>(halves, _mm512_shuffle_i64x2(halves, halves, 0xb1))));
  }

  // Each register's own.
  template <class Bits>
  static void HighestSignedOfFour(Register a, Register b, Register c, Register d, Bits (&found)[4]) {
    Spread(OfFour<Bits, MaxSigned<Bits>>(a, b, c, d), found);
  }
  template <class Bits>
  static void HighestUnsignedOfFour(Register a, Register b, Register c, Register d, Bits (&found)[4]) {
    Spread(OfFour<Bits, MaxUnsigned<Bits>>(a, b, c, d), found);
  }
  template <class Bits>
  static void LowestUnsignedOfFour(Register a, Register b, Register c, Register d, Bits (&found)[4]) {
    Spread(OfFour<Bits, MinUnsigned<Bits>>(a, b, c, d), found);
  }

  // Of 32-bit lanes; the Wide ones of 64-bit lanes.
  static Register And(Register a, Register b) { return _mm512_and_si512(a, b); }
  static Register Or(Register a, Register b) { return _mm512_or_si512(a, b); }
  static Register Xor(Register a, Register b) { return _mm512_xor_si512(a, b); }
  static Register Add(Register a, Register b) { return _mm512_add_epi32(a, b); }
  static Register Subtract(Register a, Register b) { return _mm512_sub_epi32(a, b); }
  template <int kBits>
  static Register ShiftRight(Register a) {
    return _mm512_srli_epi32(a, kBits);
  }
  template <int kBits>
  static Register ShiftRightSigned(Register a) {
    return _mm512_srai_epi32(a, kBits);
  }
  static Register ShiftLeft(Register a, Register counts) { return _mm512_sllv_epi32(a, counts); }
  template <int kBits>
  static Register ShiftRightWide(Register a) {
    return _mm512_srli_epi64(a, kBits);
  }
  static Register ShiftLeftWide(Register a, Register counts) { return _mm512_sllv_epi64(a, counts); }
  static Register AddWide(Register a, Register b) { return _mm512_add_epi64(a, b); }
  static Register MultiplyEven(Register a, Register b) { return _mm512_mul_epu32(a, b); }
  static Register EvenOnly(Register a) { return And(a, _mm512_set1_epi64(0xffffffff)); }
  static Register SignExtendEven(Register a) { return _mm512_srai_epi64(_mm512_slli_epi64(a, 32), 32); }
  static bool AllEqual(Register a) {
    return _mm512_cmpneq_epi32_mask(a, _mm512_broadcastd_epi32(_mm512_castsi512_si128(a))) == 0;
  }
  static bool AnyNegativeWhereNonzero(Register a, Register where) {
    return _mm512_mask_cmplt_epi32_mask(_mm512_test_epi32_mask(where, where), a, _mm512_setzero_si512()) != 0;
  }

 private:
  using Choose = Register (*)(Register a, Register b);  // a lambda would not be of this target

  // Lanes of half as many registers.
  template <Choose kChoose>
  static Register Halved(Register a, Register b) {
    return kChoose(_mm512_shuffle_i64x2(a, b, 0x88), _mm512_shuffle_i64x2(a, b, 0xdd));
  }
  // A quarter for each register, whose lanes all are the choice of that register's lanes.
  template <class Bits, Choose kChoose>
  static Register OfFour(Register a, Register b, Register c, Register d) {
    Register quarters = Halved<kChoose>(Halved<kChoose>(a, b), Halved<kChoose>(c, d));
    quarters = kChoose(quarters, _mm512_shuffle_epi32(quarters, _MM_PERM_BADC));
    quarters = kChoose(quarters, _mm512_shuffle_epi32(quarters, _MM_PERM_CDAB));
    if constexpr (sizeof(Bits) == 2) quarters = kChoose(quarters, _mm512_rol_epi32(quarters, 16));
    return quarters;
  }
  template <class Bits>
  static void Spread(Register quarters, Bits (&found)[4]) {
    alignas(64) Bits lanes[kBytes / sizeof(Bits)];
    Store(lanes, quarters);
    for (size_t i = 0; i < 4; ++i) found[i] = lanes[i * 16 / sizeof(Bits)];
  }
};

}  // namespace

constinit const CountKernels kAvx512CountKernels = {
    "avx512",
    {SimdRun<Avx512CountLanes, Float32Values>, SimdRun<Avx512CountLanes, Float16Values>,
     SimdRun<Avx512CountLanes, BFloat16Values>},
    {SimdRuns<Avx512CountLanes, Float32Values>, SimdRuns<Avx512CountLanes, Float16Values>,
     SimdRuns<Avx512CountLanes, BFloat16Values>},
    {SimdColumns<Avx512CountLanes, Float32Values>, SimdColumns<Avx512CountLanes, Float16Values>,
     SimdColumns<Avx512CountLanes, BFloat16Values>},
    SimdCount32<Avx512CountLanes>};

}  // namespace quantd

#pragma GCC pop_options

#endif
