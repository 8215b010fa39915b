// AVX2: eight floats to a register. Masks are registers too, all bits of a lane set or none.
#pragma once

#include "kernels/format/value_types.h"

namespace quantd {
namespace {

struct Avx2Lanes {
  using Float = __m256;
  using Int = __m256i;
  using Mask = __m256i;
  // A table of 16 floats or of 16 bit patterns.
  struct Table16 {
    __m256 low;
    __m256 high;
  };

  static constexpr size_t kLanes = 8;
  static constexpr size_t kStep = 4 * kLanes;

  // ---- Memory ----

  static Float LoadFloats(const void* source) { return _mm256_loadu_ps(static_cast<const float*>(source)); }
  static Int LoadInts(const void* source) { return _mm256_loadu_si256(static_cast<const __m256i*>(source)); }
  static void StoreFloats(void* target, Float values) { _mm256_storeu_ps(static_cast<float*>(target), values); }
  static void StoreInts(void* target, Int values) { _mm256_storeu_si256(static_cast<__m256i*>(target), values); }
  // Half a register, widened to 32 bits without a sign.
  static Int LoadWords(const void* source) { return _mm256_cvtepu16_epi32(LoadHalf(source)); }
  static Int LoadBytes(const void* source) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(static_cast<const __m128i*>(source)));
  }
  static void StoreWords(void* target, Int values) {
    const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(values), _mm256_extracti128_si256(values, 1));
    _mm_storeu_si128(static_cast<__m128i*>(target), words);
  }
  static void StoreBytes(void* target, Int values) {
    const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(values), _mm256_extracti128_si256(values, 1));
    _mm_storel_epi64(static_cast<__m128i*>(target), _mm_packus_epi16(words, words));
  }
  static Int FromEights(const uint64_t (&e)[4]) {
    return _mm256_setr_epi64x(static_cast<long long>(e[0]), static_cast<long long>(e[1]), static_cast<long long>(e[2]),
                              static_cast<long long>(e[3]));
  }
  static Int Splat(uint32_t value) { return _mm256_set1_epi32(static_cast<int>(value)); }
  static Float Splat(float value) { return _mm256_set1_ps(value); }
  static Int SplatWords(uint16_t value) { return _mm256_set1_epi16(static_cast<short>(value)); }
  static Int SplatBytes(uint8_t value) { return _mm256_set1_epi8(static_cast<char>(value)); }

  // A constant as a register or memory keeps it: what compilers know they make anew, from a general register, in every
  // step.
  static Int KeptWords(uint16_t constant) {
    const volatile uint16_t unknown = constant;
    return SplatWords(unknown);
  }

  // ---- Arithmetic ----

  static Int Bits(Float a) { return _mm256_castps_si256(a); }
  static Float AsFloat(Int a) { return _mm256_castsi256_ps(a); }
  static Float Multiply(Float a, Float b) { return _mm256_mul_ps(a, b); }
  static Float Divide(Float a, Float b) { return _mm256_div_ps(a, b); }
  static Float Add(Float a, Float b) { return _mm256_add_ps(a, b); }
  static Float Subtract(Float a, Float b) { return _mm256_sub_ps(a, b); }
  static Float Min(Float a, Float b) { return _mm256_min_ps(a, b); }  // b if one is NaN
  static Float Max(Float a, Float b) { return _mm256_max_ps(a, b); }  // b if one is NaN
  static Float MultiplyAdd(Float a, Float b, Float c) { return _mm256_fmadd_ps(a, b, c); }
  static Float NegatedMultiplyAdd(Float a, Float b, Float c) { return _mm256_fnmadd_ps(a, b, c); }
  // The smaller magnitude; `bound` is positive and not NaN.
  static Float LimitMagnitude(Float a, Float bound) { return Min(AsFloat(And(Bits(a), Splat(0x7fffffffu))), bound); }
  static Int Round(Float a) { return _mm256_cvtps_epi32(a); }
  static Int Truncate(Float a) { return _mm256_cvttps_epi32(a); }
  static Float ToFloat(Int a) { return _mm256_cvtepi32_ps(a); }

  static Int And(Int a, Int b) { return _mm256_and_si256(a, b); }
  static Int Or(Int a, Int b) { return _mm256_or_si256(a, b); }
  static Int Xor(Int a, Int b) { return _mm256_xor_si256(a, b); }
  static Int SelectBits(Int mask, Int yes, Int no) { return Or(And(mask, yes), _mm256_andnot_si256(mask, no)); }
  static Int Add(Int a, Int b) { return _mm256_add_epi32(a, b); }
  static Int Subtract(Int a, Int b) { return _mm256_sub_epi32(a, b); }
  static Int Multiply(Int a, Int b) { return _mm256_mullo_epi32(a, b); }
  static Int Min(Int a, Int b) { return _mm256_min_epi32(a, b); }
  static Int Max(Int a, Int b) { return _mm256_max_epi32(a, b); }
  static Int MaxUnsigned(Int a, Int b) { return _mm256_max_epu32(a, b); }
  static Int MaxWords(Int a, Int b) { return _mm256_max_epi16(a, b); }
  static Int MinWords(Int a, Int b) { return _mm256_min_epi16(a, b); }
  static Int MaxBytes(Int a, Int b) { return _mm256_max_epi8(a, b); }
  static Int MinBytes(Int a, Int b) { return _mm256_min_epi8(a, b); }
  static Int SubtractWords(Int a, Int b) { return _mm256_sub_epi16(a, b); }
  static Int SubtractSaturatedWords(Int a, Int b) { return _mm256_subs_epu16(a, b); }
  // Of each lane the signed low words' product and the high words', added.
  static Int MultiplyAddWords(Int a, Int b) { return _mm256_madd_epi16(a, b); }
  static Int SubtractBytes(Int a, Int b) { return _mm256_sub_epi8(a, b); }
  template <int kCount>
  static Int ShiftLeft(Int a) {
    return _mm256_slli_epi32(a, kCount);
  }
  template <int kCount>
  static Int ShiftRight(Int a) {
    return _mm256_srli_epi32(a, kCount);
  }
  template <int kCount>
  static Int ShiftRightWords(Int a) {
    return _mm256_srli_epi16(a, kCount);
  }
  template <int kCount>
  static Int ShiftRightSigned(Int a) {
    return _mm256_srai_epi32(a, kCount);
  }

  // ---- Comparisons ----

  static Mask Greater(Float a, Float b) { return Bits(_mm256_cmp_ps(a, b, _CMP_GT_OQ)); }
  static Mask AtMost(Float a, Float b) { return Bits(_mm256_cmp_ps(a, b, _CMP_LE_OQ)); }
  static Mask Greater(Int a, Int b) { return _mm256_cmpgt_epi32(a, b); }
  static Mask Equal(Int a, Int b) { return _mm256_cmpeq_epi32(a, b); }
  static Int Select(Mask mask, Int yes, Int no) { return _mm256_blendv_epi8(no, yes, mask); }
  static Int AndWhere(Mask mask, Int a) { return And(mask, a); }
  static Int Increment(Mask mask, Int a) { return Subtract(a, mask); }
  static Int OrWhere(Mask mask, Int a, Int b) { return Or(a, And(mask, b)); }
  // Unsigned.
  static bool AnyAbove(Int a, Int limit) {
    return _mm256_movemask_epi8(_mm256_cmpeq_epi32(MaxUnsigned(a, limit), limit)) != -1;
  }
  static bool Any(Mask mask) { return _mm256_movemask_epi8(mask) != 0; }
  static bool AnyNan(Float a, Float b, Float c, Float d) {
    return _mm256_movemask_ps(_mm256_or_ps(_mm256_cmp_ps(a, b, _CMP_UNORD_Q), _mm256_cmp_ps(c, d, _CMP_UNORD_Q))) != 0;
  }
  static bool AnyEqualWords(Int a, Int b) { return _mm256_movemask_epi8(_mm256_cmpeq_epi16(a, b)) != 0; }
  static bool AnyGreaterWords(Int a, Int b) { return _mm256_movemask_epi8(_mm256_cmpgt_epi16(a, b)) != 0; }
  // One more where a is greater.
  static Int CountGreaterWords(Int a, Int b, Int counts) { return _mm256_sub_epi16(counts, _mm256_cmpgt_epi16(a, b)); }
  static Int AndWhereNotZeroWords(Int where, Int a) {
    return _mm256_andnot_si256(_mm256_cmpeq_epi16(where, Splat(0u)), a);
  }
  static Int AndWhereGreaterWords(Int a, Int b, Int c) { return And(_mm256_cmpgt_epi16(a, b), c); }
  static bool AnyGreaterBytes(Int a, Int b) { return _mm256_movemask_epi8(_mm256_cmpgt_epi8(a, b)) != 0; }

  // ---- Tables ----

  static constexpr bool kHasWordTables = false;
  static Table16 LoadTable16(const void* source) {
    return {LoadFloats(source), LoadFloats(static_cast<const float*>(source) + 8)};
  }
  // By bits 0 to 3 of the index; the bits above are not looked at.
  static Float LookUp(const Table16& table, Int index) {
    const Float high_half = AsFloat(ShiftLeft<28>(index));
    return _mm256_blendv_ps(LookUp8(table.low, index), LookUp8(table.high, index), high_half);
  }
  // By bits 0 to 3 of the index, a signed number that is negative or 0 where `negative` has the sign bit, and positive
  // or 0 elsewhere; both halves have the entry for 0.
  static Float LookUpSigned(const Table16& table, Int index, Float negative) {
    return _mm256_blendv_ps(LookUp8(table.low, index), LookUp8(table.high, index), negative);
  }
  static Float LookUpPositive(const Table16& table, Int index) { return LookUp8(table.low, index); }
  static Float LookUp8(Float table, Int index) { return _mm256_permutevar8x32_ps(table, index); }
  static Int Gather(const uint32_t* table, Int index) {
    return _mm256_i32gather_epi32(reinterpret_cast<const int*>(table), index, 4);
  }
  // By an index below 128.
  static Int LookUp128(const uint32_t* table, Int index) { return Gather(table, index); }
  // The pair of registers whose lanes 16 bytes choose, of 256 entries. One load for each, because gathers are slower.
  struct MirrorTable {
    const uint32_t* entries;
  };
  static MirrorTable MakeMirrorTable(const uint32_t (&entries)[256]) { return {entries}; }
  template <bool kInterleavedPair>
  static void LookUpMirrored(const MirrorTable& table, const std::byte* bytes, Int& first, Int& second) {
    const uint64_t low = LoadUnaligned<uint64_t>(bytes);
    const uint64_t high = LoadUnaligned<uint64_t>(bytes + 8);
    if constexpr (kInterleavedPair) {
      first = Join(LookUpFour<0, 2>(table.entries, low), LookUpFour<0, 2>(table.entries, high));
      second = Join(LookUpFour<1, 2>(table.entries, low), LookUpFour<1, 2>(table.entries, high));
    } else {
      first = Join(LookUpFour<0, 1>(table.entries, low), LookUpFour<4, 1>(table.entries, low));
      second = Join(LookUpFour<0, 1>(table.entries, high), LookUpFour<4, 1>(table.entries, high));
    }
  }
  // 16 bytes, for ShuffleBytes.
  static Int LoadByteTable(const void* source) { return _mm256_broadcastsi128_si256(LoadHalf(source)); }
  static Int ShuffleBytes(Int table, Int index) { return _mm256_shuffle_epi8(table, index); }

  // ---- Values ----

  // Of a pair of registers that holds 16 values of a type, the first has the even ones if this is true, else the first
  // eight: whatever the type is cheapest to load and store as.
  template <class Values>
  static constexpr bool kInterleaved = std::is_same_v<Values, BFloat16Values>;

  template <class Values>
  static void LoadPair(const std::byte* source, Float& first, Float& second) {
    if constexpr (std::is_same_v<Values, BFloat16Values>) {
      const Int pairs = LoadInts(source);
      first = AsFloat(ShiftLeft<16>(pairs));
      second = AsFloat(And(pairs, Splat(0xffff0000u)));
    } else if constexpr (std::is_same_v<Values, Float16Values>) {
      first = _mm256_cvtph_ps(LoadHalf(source));
      second = _mm256_cvtph_ps(LoadHalf(source + 16));
    } else {
      first = LoadFloats(source);
      second = LoadFloats(source + 32);
    }
  }

  // Rounds to the type and stores; no value is NaN.
  template <class Values>
  static void StorePair(std::byte* target, Float first, Float second) {
    if constexpr (std::is_same_v<Values, BFloat16Values>) {
      StoreInts(target, JoinHalves(ShiftRight<16>(RoundUpperHalf(first)), RoundUpperHalf(second)));
    } else if constexpr (std::is_same_v<Values, Float16Values>) {
      StoreHalf(target, RoundFloat16(first));
      StoreHalf(target + 16, RoundFloat16(second));
    } else {
      StoreFloats(target, first);
      StoreFloats(target + 32, second);
    }
  }

  // The upper 16 bits are the nearest bfloat16.
  static Int RoundUpperHalf(Float a) {
    const Int odd = And(ShiftRight<16>(Bits(a)), Splat(1u));
    return Add(Add(Bits(a), Splat(0x7fffu)), odd);
  }
  static __m128i RoundFloat16(Float a) { return _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static Int Float16Bits(Float a) { return _mm256_cvtepu16_epi32(RoundFloat16(a)); }
  // Of the largest number that is not above, for positive ones.
  static Int Float16BitsDown(Float a) {
    return _mm256_cvtepu16_epi32(_mm256_cvtps_ph(a, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC));
  }
  static Float FromFloat16Bits(Int a) {
    return _mm256_cvtph_ps(_mm_packus_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1)));
  }
  // The lower halves of `low`, the upper halves of `high`.
  static Int JoinHalves(Int low, Int high) { return _mm256_blend_epi16(low, high, 0xaa); }

  // ---- Codes ----

  // 16 codes of 16 bits, from a pair of registers.
  template <bool kInterleavedPair>
  static void StoreWordPair(std::byte* target, Int first, Int second) {
    if constexpr (kInterleavedPair) {
      StoreInts(target, JoinHalves(first, ShiftLeft<16>(second)));
    } else {
      StoreInts(target, _mm256_permute4x64_epi64(_mm256_packus_epi32(first, second), 0xd8));
    }
  }
  // Four registers become one of bytes: PackWords twice, PackBytes, InOrder. They saturate to int16, int8 or uint8.
  static Int PackWords(Int a, Int b) { return _mm256_packs_epi32(a, b); }
  static Int PackSignedBytes(Int a, Int b) { return _mm256_packs_epi16(a, b); }
  static Int PackUnsignedBytes(Int a, Int b) { return _mm256_packus_epi16(a, b); }
  template <bool kInterleavedPairs>
  static Int InOrder(Int bytes) {
    if constexpr (kInterleavedPairs) {
      const Int merged = _mm256_shuffle_epi8(
          bytes, _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15)));
      return _mm256_permute4x64_epi64(merged, 0xd8);
    } else {
      return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    }
  }
  // Of packed words that were in order before.
  static Int InOrderOfWords(Int bytes) { return _mm256_permute4x64_epi64(bytes, 0xd8); }
  // Bytes below 16 become nibbles.
  template <bool kFirstInHighNibble>
  static void StoreNibbles(std::byte* target, Int bytes) {
    const Int pairs = _mm256_maddubs_epi16(bytes, SplatWords(kFirstInHighNibble ? 0x0110 : 0x1001));
    StoreHalf(target, _mm_packus_epi16(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1)));
  }
  // 16 codes of a nibble, as a pair of registers; bits above the lowest four are anything.
  template <bool kFirstInHighNibble, bool kInterleavedPair>
  static void LoadNibblePair(const std::byte* source, Int& first, Int& second) {
    if constexpr (kInterleavedPair) {
      const Int pairs = LoadBytes(source);
      const Int high = ShiftRight<4>(pairs);
      first = kFirstInHighNibble ? high : pairs;
      second = kFirstInHighNibble ? pairs : high;
    } else {
      const Int shift = kFirstInHighNibble ? _mm256_setr_epi32(4, 0, 12, 8, 20, 16, 28, 24)
                                           : _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28);
      first = _mm256_srlv_epi32(Splat(LoadUnaligned<uint32_t>(source)), shift);
      second = _mm256_srlv_epi32(Splat(LoadUnaligned<uint32_t>(source + 4)), shift);
    }
  }
  // 16 bytes as a pair of registers of signed numbers.
  template <bool kInterleavedPair>
  static void LoadSignedBytePair(const std::byte* source, Int& first, Int& second) {
    const __m128i bytes = PairOrder<kInterleavedPair>(LoadHalf(source));
    first = _mm256_cvtepi8_epi32(bytes);
    second = _mm256_cvtepi8_epi32(_mm_unpackhi_epi64(bytes, bytes));
  }
  // The same of float16 bit patterns that have the byte's sign, and its other bits `kShift` further left.
  template <bool kInterleavedPair, int kShift>
  static void LoadFloat8Pair(const std::byte* source, Float& first, Float& second) {
    const Int words = _mm256_cvtepi8_epi16(PairOrder<kInterleavedPair>(LoadHalf(source)));
    // The copies of the sign between it and the other bits are taken out.
    const Int halves = And(_mm256_slli_epi16(words, kShift), SplatWords(0x8000u | 0x7fu << kShift));
    first = _mm256_cvtph_ps(_mm256_castsi256_si128(halves));
    second = _mm256_cvtph_ps(_mm256_extracti128_si256(halves, 1));
  }

  // A table of 16 values of 16 bits, and a step's values looked up and stored.
  struct WordTable16 {
    Int low_bytes;
    Int high_bytes;
  };
  static WordTable16 MakeWordTable16(const uint32_t (&entries)[16]) {
    const Int pairs = _mm256_packus_epi32(LoadInts(entries), LoadInts(entries + 8));
    const Int words = _mm256_permute4x64_epi64(pairs, 0xd8);
    const Int low = And(words, SplatWords(0xff));
    const Int high = _mm256_srli_epi16(words, 8);
    const Int bytes = _mm256_permute4x64_epi64(_mm256_packus_epi16(low, high), 0xd8);
    return {_mm256_permute2x128_si256(bytes, bytes, 0x00), _mm256_permute2x128_si256(bytes, bytes, 0x11)};
  }
  template <bool kFirstInHighNibble>
  static void StoreLookedUp(std::byte* target, const WordTable16& table, const std::byte* nibbles) {
    const Int codes = LoadNibbles<kFirstInHighNibble>(nibbles);
    const Int low = _mm256_shuffle_epi8(table.low_bytes, codes);
    const Int high = _mm256_shuffle_epi8(table.high_bytes, codes);
    const Int lower = _mm256_unpacklo_epi8(low, high);
    const Int upper = _mm256_unpackhi_epi8(low, high);
    StoreInts(target, _mm256_permute2x128_si256(lower, upper, 0x20));
    StoreInts(target + 32, _mm256_permute2x128_si256(lower, upper, 0x31));
  }

  // ---- Runs that share a step ----

  // The numbers of the lanes of register `kRegister` of a step, of which `runs` has one for each run.
  template <size_t kRun, size_t kRegister, bool kInterleavedPairs>
  static Float SpreadRuns(const float* runs) {
    static_assert(kRun % (2 * kLanes) == 0);
    return _mm256_broadcast_ss(runs + kRegister * kLanes / kRun);
  }

  // ---- Across lanes ----

  static float HighestLane(Float a) {
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
  }
  static float LowestLane(Float a) {
    const __m128 four = _mm_min_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 two = _mm_min_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_min_ss(two, _mm_movehdup_ps(two)));
  }

  // A step of a tree whose leaves are as many registers as each has lanes, and whose root has in lane i the largest
  // lane of leaf i. `a` and `b` have kLeaves / 2 leaves each, in turn in their lanes.
  template <size_t kLeaves>
  static Int Combine(Int a, Int b) {
    if constexpr (kLeaves == 2) return Max(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
    if constexpr (kLeaves == 4) return Max(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
    return Max(_mm256_permute2x128_si256(a, b, 0x20), _mm256_permute2x128_si256(a, b, 0x31));
  }
  // The same of 16-bit lanes.
  template <size_t kLeaves>
  static Int CombineWords(Int a, Int b) {
    if constexpr (kLeaves == 2) return MaxWords(_mm256_unpacklo_epi16(a, b), _mm256_unpackhi_epi16(a, b));
    if constexpr (kLeaves == 4) return MaxWords(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
    if constexpr (kLeaves == 8) return MaxWords(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
    return MaxWords(_mm256_permute2x128_si256(a, b, 0x20), _mm256_permute2x128_si256(a, b, 0x31));
  }
  // Of a tree of half as many leaves, in whose halves are different runs: each leaf's two runs, one after the other.
  static Int JoinHalfRuns(Int words) {
    const __m128i first = _mm256_castsi256_si128(words);
    const __m128i second = _mm256_extracti128_si256(words, 1);
    return _mm256_set_m128i(_mm_unpackhi_epi16(first, second), _mm_unpacklo_epi16(first, second));
  }
  static Int LowWords(Int words) { return _mm256_cvtepu16_epi32(_mm256_castsi256_si128(words)); }
  static Int HighWords(Int words) { return _mm256_cvtepu16_epi32(_mm256_extracti128_si256(words, 1)); }

 private:
  static Int Join(__m128 low, __m128 high) { return _mm256_castps_si256(_mm256_set_m128(high, low)); }
  // Every kStride'th byte of `bytes` from kFirst. Broadcasts and blends, because inserting an element takes the ports
  // that shuffle: half as fast again as setting the register.
  template <int kFirst, int kStride>
  static __m128 LookUpFour(const uint32_t* entries, uint64_t bytes) {
    const auto entry = [&](int index) {
      return _mm_broadcast_ss(reinterpret_cast<const float*>(entries) +
                              ((bytes >> 8 * (kFirst + index * kStride)) & 255));
    };
    const __m128 low = _mm_blend_ps(entry(0), entry(1), 0b0010);
    const __m128 high = _mm_blend_ps(entry(2), entry(3), 0b1000);
    return _mm_blend_ps(low, high, 0b1100);
  }
  // 32 nibbles as bytes, in order.
  template <bool kFirstInHighNibble>
  static Int LoadNibbles(const std::byte* source) {
    const __m128i pairs = LoadHalf(source);
    const __m128i high = _mm_and_si128(_mm_srli_epi16(pairs, 4), _mm_set1_epi8(15));
    const __m128i low = _mm_and_si128(pairs, _mm_set1_epi8(15));
    const __m128i first = kFirstInHighNibble ? high : low;
    const __m128i second = kFirstInHighNibble ? low : high;
    return _mm256_set_m128i(_mm_unpackhi_epi8(first, second), _mm_unpacklo_epi8(first, second));
  }
  static __m128i LoadHalf(const void* source) { return _mm_loadu_si128(static_cast<const __m128i*>(source)); }
  static void StoreHalf(void* target, __m128i values) { _mm_storeu_si128(static_cast<__m128i*>(target), values); }
  template <bool kInterleavedPair>
  static __m128i PairOrder(__m128i bytes) {
    if constexpr (!kInterleavedPair) return bytes;
    return _mm_shuffle_epi8(bytes, _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15));
  }
};

}  // namespace
}  // namespace quantd
