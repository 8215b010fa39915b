// AVX-512 (F, BW, DQ, VL): sixteen floats to a register. Masks are mask registers. For what each function does, see
// kernels/cpu/avx2_lanes-inl.h, which has the same.
#pragma once

#include "kernels/format/value_types.h"

namespace quantd {
namespace {

struct Avx512Lanes {
  using Float = __m512;
  using Int = __m512i;
  using Mask = __mmask16;
  using Table16 = __m512;

  static constexpr size_t kLanes = 16;
  static constexpr size_t kStep = 4 * kLanes;

  // ---- Memory ----

  static Float LoadFloats(const void* source) { return _mm512_loadu_ps(source); }
  static Int LoadInts(const void* source) { return _mm512_loadu_si512(source); }
  static void StoreFloats(void* target, Float values) { _mm512_storeu_ps(target, values); }
  static void StoreInts(void* target, Int values) { _mm512_storeu_si512(target, values); }
  static Int LoadWords(const void* source) { return _mm512_cvtepu16_epi32(LoadHalf(source)); }
  static Int LoadBytes(const void* source) { return _mm512_cvtepu8_epi32(LoadQuarter(source)); }
  static void StoreWords(void* target, Int values) { StoreHalf(target, _mm512_cvtepi32_epi16(values)); }
  static void StoreBytes(void* target, Int values) {
    _mm_storeu_si128(static_cast<__m128i*>(target), _mm512_cvtepi32_epi8(values));
  }
  static Int FromEights(const uint64_t (&e)[8]) {
    return _mm512_set_epi64(static_cast<long long>(e[7]), static_cast<long long>(e[6]), static_cast<long long>(e[5]),
                            static_cast<long long>(e[4]), static_cast<long long>(e[3]), static_cast<long long>(e[2]),
                            static_cast<long long>(e[1]), static_cast<long long>(e[0]));
  }
  static Int Splat(uint32_t value) { return _mm512_set1_epi32(static_cast<int>(value)); }
  static Float Splat(float value) { return _mm512_set1_ps(value); }
  static Int SplatWords(uint16_t value) { return _mm512_set1_epi16(static_cast<short>(value)); }
  static Int SplatBytes(uint8_t value) { return _mm512_set1_epi8(static_cast<char>(value)); }

  static Int KeptWords(uint16_t constant) {
    const volatile uint16_t unknown = constant;
    return SplatWords(unknown);
  }

  // ---- Arithmetic ----

  static Int Bits(Float a) { return _mm512_castps_si512(a); }
  static Float AsFloat(Int a) { return _mm512_castsi512_ps(a); }
  static Float Multiply(Float a, Float b) { return _mm512_mul_ps(a, b); }
  static Float Divide(Float a, Float b) { return _mm512_div_ps(a, b); }
  static Float Add(Float a, Float b) { return _mm512_add_ps(a, b); }
  static Float Subtract(Float a, Float b) { return _mm512_sub_ps(a, b); }
  static Float Min(Float a, Float b) { return _mm512_min_ps(a, b); }
  static Float Max(Float a, Float b) { return _mm512_max_ps(a, b); }
  static Float MultiplyAdd(Float a, Float b, Float c) { return _mm512_fmadd_ps(a, b, c); }
  static Float NegatedMultiplyAdd(Float a, Float b, Float c) { return _mm512_fnmadd_ps(a, b, c); }
  static Float LimitMagnitude(Float a, Float bound) {
    constexpr int kSmallerMagnitudeWithoutSign = 0b1010;
    return _mm512_range_ps(a, bound, kSmallerMagnitudeWithoutSign);
  }
  static Int Round(Float a) { return _mm512_cvtps_epi32(a); }
  static Int RoundDown(Float a) { return _mm512_cvt_roundps_epi32(a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
  static Int Truncate(Float a) { return _mm512_cvttps_epi32(a); }
  static Float ToFloat(Int a) { return _mm512_cvtepi32_ps(a); }

  static Int And(Int a, Int b) { return _mm512_and_si512(a, b); }
  static Int Or(Int a, Int b) { return _mm512_or_si512(a, b); }
  static Int Xor(Int a, Int b) { return _mm512_xor_si512(a, b); }
  static Int SelectBits(Int mask, Int yes, Int no) {
    constexpr int kSecondWhereFirst = 0xca;
    return _mm512_ternarylogic_epi32(mask, yes, no, kSecondWhereFirst);
  }
  static Int Add(Int a, Int b) { return _mm512_add_epi32(a, b); }
  static Int Subtract(Int a, Int b) { return _mm512_sub_epi32(a, b); }
  static Int Multiply(Int a, Int b) { return _mm512_mullo_epi32(a, b); }
  static Int Min(Int a, Int b) { return _mm512_min_epi32(a, b); }
  static Int Max(Int a, Int b) { return _mm512_max_epi32(a, b); }
  static Int MaxUnsigned(Int a, Int b) { return _mm512_max_epu32(a, b); }
  static Int MaxWords(Int a, Int b) { return _mm512_max_epi16(a, b); }
  static Int MinWords(Int a, Int b) { return _mm512_min_epi16(a, b); }
  static Int MaxBytes(Int a, Int b) { return _mm512_max_epi8(a, b); }
  static Int MinBytes(Int a, Int b) { return _mm512_min_epi8(a, b); }
  static Int AddWords(Int a, Int b) { return _mm512_add_epi16(a, b); }
  static Int SubtractWords(Int a, Int b) { return _mm512_sub_epi16(a, b); }
  static Int SubtractSaturatedWords(Int a, Int b) { return _mm512_subs_epu16(a, b); }
  static Int MultiplyAddWords(Int a, Int b) { return _mm512_madd_epi16(a, b); }
  static Int SubtractBytes(Int a, Int b) { return _mm512_sub_epi8(a, b); }
  template <int kCount>
  static Int ShiftLeft(Int a) {
    return _mm512_slli_epi32(a, kCount);
  }
  template <int kCount>
  static Int ShiftRight(Int a) {
    return _mm512_srli_epi32(a, kCount);
  }
  template <int kCount>
  static Int ShiftRightWords(Int a) {
    return _mm512_srli_epi16(a, kCount);
  }
  static Int ShiftRightWordsBy(Int a, Int counts) { return _mm512_srlv_epi16(a, counts); }
  template <int kCount>
  static Int ShiftRightSigned(Int a) {
    return _mm512_srai_epi32(a, kCount);
  }

  // ---- Comparisons ----

  static Mask Greater(Float a, Float b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
  static Mask AtMost(Float a, Float b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
  static Mask Greater(Int a, Int b) { return _mm512_cmpgt_epi32_mask(a, b); }
  static Mask Equal(Int a, Int b) { return _mm512_cmpeq_epi32_mask(a, b); }
  static Int Select(Mask mask, Int yes, Int no) { return _mm512_mask_mov_epi32(no, mask, yes); }
  static Int AndWhere(Mask mask, Int a) { return _mm512_maskz_mov_epi32(mask, a); }
  static Int Increment(Mask mask, Int a) { return _mm512_mask_add_epi32(a, mask, a, Splat(1u)); }
  static Int OrWhere(Mask mask, Int a, Int b) { return _mm512_mask_or_epi32(a, mask, a, b); }
  static bool AnyAbove(Int a, Int limit) { return _mm512_cmpgt_epu32_mask(a, limit) != 0; }
  static bool Any(Mask mask) { return mask != 0; }
  static bool AnyNan(Float a, Float b, Float c, Float d) {
    return (_mm512_cmp_ps_mask(a, b, _CMP_UNORD_Q) | _mm512_cmp_ps_mask(c, d, _CMP_UNORD_Q)) != 0;
  }
  static bool AnyEqualWords(Int a, Int b) { return _mm512_cmpeq_epi16_mask(a, b) != 0; }
  // Of either register.
  static bool AnyEqualWords(Int a, Int b, Int to) {
    return (_mm512_cmpeq_epi16_mask(a, to) | _mm512_cmpeq_epi16_mask(b, to)) != 0;
  }
  static bool AnyWordWithout(Int a, Int b, Int bits) {
    return (_mm512_testn_epi16_mask(a, bits) | _mm512_testn_epi16_mask(b, bits)) != 0;
  }
  static bool AnyGreaterWords(Int a, Int b) { return _mm512_cmpgt_epi16_mask(a, b) != 0; }
  static Int AndWhereNotZeroWords(Int where, Int a) {
    return _mm512_maskz_mov_epi16(_mm512_test_epi16_mask(where, where), a);
  }
  static Int AndWhereGreaterWords(Int a, Int b, Int c) {
    return _mm512_maskz_mov_epi16(_mm512_cmpgt_epi16_mask(a, b), c);
  }
  static Int AddWhereGreaterWords(Int a, Int b, Int sums, Int addend) {
    return _mm512_mask_add_epi16(sums, _mm512_cmpgt_epi16_mask(a, b), sums, addend);
  }
  static bool AnyGreaterBytes(Int a, Int b) { return _mm512_cmpgt_epi8_mask(a, b) != 0; }

  // ---- Tables ----

  // By bits 0 to 4 of 16-bit indexes.
  static constexpr bool kHasWordTables = true;
  static Int LookUpWords(Int table, Int index) { return _mm512_permutexvar_epi16(index, table); }
  static Table16 LoadTable16(const void* source) { return LoadFloats(source); }
  static Float LookUp(Table16 table, Int index) { return _mm512_permutexvar_ps(index, table); }
  // Bits 0 to 3 of a negative index are those of the table's upper half.
  static Float LookUpSigned(Table16 table, Int index, Float) { return LookUp(table, index); }
  static Float LookUpPositive(Table16 table, Int index) { return LookUp(table, index); }
  static Int Gather(const uint32_t* table, Int index) { return _mm512_i32gather_epi32(index, table, 4); }
  // By bits 0 to 6 of the index. In registers, because gathers are slow on some processors.
  static Int LookUp128(const uint32_t* table, Int index) {
    const Mask odd = _mm512_test_epi32_mask(index, Splat(32u));
    const Int low = _mm512_mask_mov_epi32(LookUp32(table, index), odd, LookUp32(table + 32, index));
    const Int high = _mm512_mask_mov_epi32(LookUp32(table + 64, index), odd, LookUp32(table + 96, index));
    return _mm512_mask_mov_epi32(low, _mm512_test_epi32_mask(index, Splat(64u)), high);
  }
  // 256 entries that mirror at 127: entry 127 + k is entry 127 - k but for its sign bit, and entry 127 is 0. So 128
  // magnitudes, halved into words because those are looked up 32 at a time, and what code 255 has instead of entry 0.
  struct MirrorTable {
    Int low[4];
    Int high[4];
    Int last_high;
  };
  // The last entry's low half must be 0.
  static MirrorTable MakeMirrorTable(const uint32_t (&entries)[256]) {
    alignas(64) uint16_t halves[2][128];
    for (size_t k = 0; k < 128; ++k) {
      halves[0][k] = static_cast<uint16_t>(entries[127 + k]);
      halves[1][k] = static_cast<uint16_t>(entries[127 + k] >> 16);
    }
    MirrorTable table;
    for (size_t i = 0; i < 4; ++i) {
      table.low[i] = LoadInts(halves[0] + i * 32);
      table.high[i] = LoadInts(halves[1] + i * 32);
    }
    table.last_high = SplatWords(static_cast<uint16_t>(entries[255] >> 16));
    return table;
  }
  template <bool kInterleavedPair>
  static void LookUpMirrored(const MirrorTable& table, const std::byte* bytes, Int& first, Int& second) {
    const __m256i in_quads = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m256i codes = kInterleavedPair ? LoadHalf(bytes) : _mm256_permutevar8x32_epi32(LoadHalf(bytes), in_quads);
    const Int from_middle = _mm512_sub_epi16(_mm512_cvtepu8_epi16(codes), SplatWords(127));
    const Int index = _mm512_abs_epi16(from_middle);
    const __mmask32 upper = _mm512_test_epi16_mask(index, SplatWords(64));
    const Int low = LookUpWords128(table.low, index, upper);
    const Int magnitude = _mm512_mask_mov_epi16(LookUpWords128(table.high, index, upper),
                                                _mm512_test_epi16_mask(index, SplatWords(128)), table.last_high);
    const Int high = SelectBits(SplatWords(0x8000), from_middle, magnitude);
    if constexpr (kInterleavedPair) {
      first = SelectBits(Splat(0xffffu), low, ShiftLeft<16>(high));
      second = SelectBits(Splat(0xffffu), ShiftRight<16>(low), high);
    } else {
      first = _mm512_unpacklo_epi16(low, high);
      second = _mm512_unpackhi_epi16(low, high);
    }
  }
  static Int LoadByteTable(const void* source) { return _mm512_broadcast_i32x4(LoadQuarter(source)); }
  static Int ShuffleBytes(Int table, Int index) { return _mm512_shuffle_epi8(table, index); }

  // ---- Values ----

  template <class Values>
  static constexpr bool kInterleaved = std::is_same_v<Values, BFloat16Values>;

  template <class Values>
  static void LoadPair(const std::byte* source, Float& first, Float& second) {
    if constexpr (std::is_same_v<Values, BFloat16Values>) {
      const Int pairs = LoadInts(source);
      first = AsFloat(ShiftLeft<16>(pairs));
      second = AsFloat(And(pairs, Splat(0xffff0000u)));
    } else if constexpr (std::is_same_v<Values, Float16Values>) {
      first = _mm512_cvtph_ps(LoadHalf(source));
      second = _mm512_cvtph_ps(LoadHalf(source + 32));
    } else {
      first = LoadFloats(source);
      second = LoadFloats(source + 64);
    }
  }

  template <class Values>
  static void StorePair(std::byte* target, Float first, Float second) {
    if constexpr (std::is_same_v<Values, BFloat16Values>) {
      StoreInts(target, JoinHalves(ShiftRight<16>(RoundUpperHalf(first)), RoundUpperHalf(second)));
    } else if constexpr (std::is_same_v<Values, Float16Values>) {
      StoreHalf(target, RoundFloat16(first));
      StoreHalf(target + 32, RoundFloat16(second));
    } else {
      StoreFloats(target, first);
      StoreFloats(target + 64, second);
    }
  }

  static Int RoundUpperHalf(Float a) {
    const Int odd = And(ShiftRight<16>(Bits(a)), Splat(1u));
    return Add(Add(Bits(a), Splat(0x7fffu)), odd);
  }
  static __m256i RoundFloat16(Float a) { return _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static Int Float16Bits(Float a) { return _mm512_cvtepu16_epi32(RoundFloat16(a)); }
  static Int Float16BitsDown(Float a) {
    return _mm512_cvtepu16_epi32(_mm512_cvtps_ph(a, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC));
  }
  static Float FromFloat16Bits(Int a) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(a)); }
  static Int JoinHalves(Int low, Int high) { return _mm512_mask_blend_epi16(0xaaaaaaaau, low, high); }

  // ---- Codes ----

  template <bool kInterleavedPair>
  static void StoreWordPair(std::byte* target, Int first, Int second) {
    if constexpr (kInterleavedPair) {
      StoreInts(target, JoinHalves(first, ShiftLeft<16>(second)));
    } else {
      StoreWords(target, first);
      StoreWords(target + 32, second);
    }
  }
  static Int PackWords(Int a, Int b) { return _mm512_packs_epi32(a, b); }
  static Int PackSignedBytes(Int a, Int b) { return _mm512_packs_epi16(a, b); }
  static Int PackUnsignedBytes(Int a, Int b) { return _mm512_packus_epi16(a, b); }
  template <bool kInterleavedPairs>
  static Int InOrder(Int bytes) {
    if constexpr (kInterleavedPairs) {
      const __m128i merge = _mm_setr_epi8(0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15);
      const Int merged = _mm512_shuffle_epi8(bytes, _mm512_broadcast_i32x4(merge));
      return _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), merged);
    } else {
      const Int order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
      return _mm512_permutexvar_epi32(order, bytes);
    }
  }
  static Int InOrderOfWords(Int bytes) {
    return _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), bytes);
  }
  template <bool kFirstInHighNibble>
  static void StoreNibbles(std::byte* target, Int bytes) {
    const Int pairs = _mm512_maddubs_epi16(bytes, SplatWords(kFirstInHighNibble ? 0x0110 : 0x1001));
    StoreHalf(target, _mm512_cvtepi16_epi8(pairs));
  }
  template <bool kFirstInHighNibble, bool kInterleavedPair>
  static void LoadNibblePair(const std::byte* source, Int& first, Int& second) {
    if constexpr (kInterleavedPair) {
      const Int pairs = LoadBytes(source);
      const Int high = ShiftRight<4>(pairs);
      first = kFirstInHighNibble ? high : pairs;
      second = kFirstInHighNibble ? pairs : high;
    } else {
      // Eight nibbles to a lane, of which each lane takes its own.
      const Int eights = _mm512_castsi128_si512(LoadQuarter(source));
      const Int first_eights =
          _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1), eights);
      const Int second_eights =
          _mm512_permutexvar_epi32(_mm512_setr_epi32(2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3), eights);
      const Int shift = kFirstInHighNibble
                            ? _mm512_setr_epi32(4, 0, 12, 8, 20, 16, 28, 24, 4, 0, 12, 8, 20, 16, 28, 24)
                            : _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28);
      first = _mm512_srlv_epi32(first_eights, shift);
      second = _mm512_srlv_epi32(second_eights, shift);
    }
  }
  template <bool kInterleavedPair>
  static void LoadSignedBytePair(const std::byte* source, Int& first, Int& second) {
    const __m256i bytes = PairOrder<kInterleavedPair>(LoadHalf(source));
    first = _mm512_cvtepi8_epi32(_mm256_castsi256_si128(bytes));
    second = _mm512_cvtepi8_epi32(_mm256_extracti128_si256(bytes, 1));
  }
  template <bool kInterleavedPair, int kShift>
  static void LoadFloat8Pair(const std::byte* source, Float& first, Float& second) {
    const Int words = _mm512_cvtepi8_epi16(PairOrder<kInterleavedPair>(LoadHalf(source)));
    const Int halves = And(_mm512_slli_epi16(words, kShift), SplatWords(0x8000u | 0x7fu << kShift));
    first = _mm512_cvtph_ps(_mm512_castsi512_si256(halves));
    second = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(halves, 1));
  }

  // The 16 words twice, so that bit 4 of an index makes no difference.
  using WordTable16 = Int;
  static WordTable16 MakeWordTable16(const uint32_t (&entries)[16]) {
    return _mm512_broadcast_i64x4(_mm512_cvtepi32_epi16(LoadInts(entries)));
  }
  template <bool kFirstInHighNibble>
  static void StoreLookedUp(std::byte* target, WordTable16 table, const std::byte* codes) {
    for (size_t half = 0; half < 2; ++half) {
      const Int pairs = LoadBytes(codes + half * 16);
      // The first code in the lower word's low bits, the second in the upper word's.
      const Int index =
          kFirstInHighNibble ? Or(ShiftRight<4>(pairs), ShiftLeft<16>(pairs)) : Or(pairs, ShiftLeft<12>(pairs));
      StoreInts(target + half * 64, _mm512_permutexvar_epi16(index, table));
    }
  }

  // ---- Runs that share a step ----

  template <size_t kRun, size_t kRegister, bool kInterleavedPairs>
  static Float SpreadRuns(const float* runs) {
    static_assert(kRun % kLanes == 0);
    if constexpr (kInterleavedPairs && kRun == kLanes) {
      // Each half of the lanes has a run of its own.
      const float* const pair = runs + kRegister / 2 * 2;
      return _mm512_mask_broadcastss_ps(Splat(pair[0]), 0xff00, _mm_load_ss(pair + 1));
    } else {
      return Splat(runs[kRegister * kLanes / kRun]);
    }
  }

  // Eight words for each of kLanes runs, from registers that have one word for each run.
  static void StoreEights(uint16_t (*eights)[8], const Int (&words)[8]) {
    const auto pair = [&](size_t k) { return Or(words[k], ShiftLeft<16>(words[k + 1])); };
    const Int p0 = pair(0), p2 = pair(2), p4 = pair(4), p6 = pair(6);
    const Int a0 = _mm512_unpacklo_epi32(p0, p2), a1 = _mm512_unpackhi_epi32(p0, p2);
    const Int b0 = _mm512_unpacklo_epi32(p4, p6), b1 = _mm512_unpackhi_epi32(p4, p6);
    // Run 4 q + k is in quarter q of quads[k].
    const Int quads[4] = {_mm512_unpacklo_epi64(a0, b0), _mm512_unpackhi_epi64(a0, b0), _mm512_unpacklo_epi64(a1, b1),
                          _mm512_unpackhi_epi64(a1, b1)};
    const Int low01 = _mm512_shuffle_i32x4(quads[0], quads[1], 0x44),
              low23 = _mm512_shuffle_i32x4(quads[2], quads[3], 0x44);
    const Int high01 = _mm512_shuffle_i32x4(quads[0], quads[1], 0xee),
              high23 = _mm512_shuffle_i32x4(quads[2], quads[3], 0xee);
    StoreInts(eights, _mm512_shuffle_i32x4(low01, low23, 0x88));
    StoreInts(eights + 4, _mm512_shuffle_i32x4(low01, low23, 0xdd));
    StoreInts(eights + 8, _mm512_shuffle_i32x4(high01, high23, 0x88));
    StoreInts(eights + 12, _mm512_shuffle_i32x4(high01, high23, 0xdd));
  }
  // Those of the runs of a step, one after another.
  template <size_t kRun>
  static Int LoadEights(const uint16_t (*eights)[8]) {
    if constexpr (kRun == 16) return LoadInts(eights);
    if constexpr (kRun == 32) return _mm512_broadcast_i64x4(LoadHalf(eights));
    return LoadByteTable(eights);
  }
  static Int SwapWords(Int pairs) { return _mm512_rol_epi32(pairs, 16); }

  // ---- Across lanes ----

  static float HighestLane(Float a) { return _mm512_reduce_max_ps(a); }
  static float LowestLane(Float a) { return _mm512_reduce_min_ps(a); }

  template <size_t kLeaves>
  static Int Combine(Int a, Int b) {
    if constexpr (kLeaves == 2) return Max(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    if constexpr (kLeaves == 4) return Max(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
    // Neighbouring quarters; the first time of the same leaves, the second time of half as many quarters.
    return Max(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd));
  }
  template <size_t kLeaves>
  static Int CombineWords(Int a, Int b) {
    if constexpr (kLeaves == 2) return MaxWords(_mm512_unpacklo_epi16(a, b), _mm512_unpackhi_epi16(a, b));
    if constexpr (kLeaves == 4) return MaxWords(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    if constexpr (kLeaves == 8) return MaxWords(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
    return MaxWords(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd));
  }
  // The quarters have the first runs of leaves 0 to 7, their second ones, and those of leaves 8 to 15.
  static Int JoinHalfRuns(Int words) {
    alignas(64) static constexpr uint16_t kOrder[32] = {0,  8,  1,  9,  2,  10, 3,  11, 4,  12, 5,  13, 6,  14, 7,  15,
                                                        16, 24, 17, 25, 18, 26, 19, 27, 20, 28, 21, 29, 22, 30, 23, 31};
    return _mm512_permutexvar_epi16(LoadInts(kOrder), words);
  }
  static Int LowWords(Int words) { return _mm512_cvtepu16_epi32(_mm512_castsi512_si256(words)); }
  static Int HighWords(Int words) { return _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(words, 1)); }

 private:
  static Int LookUpWords128(const Int (&table)[4], Int index, __mmask32 upper) {
    return _mm512_mask_mov_epi16(_mm512_permutex2var_epi16(table[0], index, table[1]), upper,
                                 _mm512_permutex2var_epi16(table[2], index, table[3]));
  }
  static Int LookUp32(const uint32_t* table, Int index) {
    return _mm512_permutex2var_epi32(LoadInts(table), index, LoadInts(table + 16));
  }
  static __m256i LoadHalf(const void* source) { return _mm256_loadu_si256(static_cast<const __m256i*>(source)); }
  static __m128i LoadQuarter(const void* source) { return _mm_loadu_si128(static_cast<const __m128i*>(source)); }
  static void StoreHalf(void* target, __m256i values) { _mm256_storeu_si256(static_cast<__m256i*>(target), values); }
  template <bool kInterleavedPair>
  static __m256i PairOrder(__m256i bytes) {
    if constexpr (!kInterleavedPair) return bytes;
    const __m128i order = _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
    return _mm256_permute4x64_epi64(_mm256_shuffle_epi8(bytes, _mm256_broadcastsi128_si256(order)), 0xd8);
  }
};

}  // namespace
}  // namespace quantd
