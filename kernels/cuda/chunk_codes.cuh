// Codes of a thread's sixteen values, in registers. Equal to Encoded(Transformed(...)) of kernels/format/arithmetic.h
// where IsUsual says so; what it does not cover takes that way.
#pragma once

#include "kernels/cuda/chunk.cuh"
#include "kernels/cuda/device_formats.cuh"
#include "kernels/cuda/device_jobs.h"
#include "kernels/cuda/fp8_pairs.cuh"
#include "kernels/format/dynamic8_cells.h"
#include "kernels/format/rank_cells.h"

namespace quantd {
namespace {

inline constexpr uint32_t kEveryLane = 0xffffffffu;

template <class Format>
inline constexpr int kChunkWords = static_cast<int>(kChunkElements) * Format::kBits / 32;

// Values transformed and multiplied by 2^kPower, which rounds nothing within the range of IsUsual.
template <Transform kTransform, int kPower>
class Quotients {
  static constexpr bool kDivides = kTransform == Transform::kDivide || kTransform == Transform::kDivideAddZero;
  static constexpr float kOne = __builtin_bit_cast(float, static_cast<uint32_t>(127 + kPower) << 23);

 public:
  Quotients() = default;  // of any content
  __device__ Quotients(float factor, float zero)
      : factor_(kDivides ? factor * (1 / kOne) : factor * kOne), zero_(zero) {
    if constexpr (kDivides) reciprocal_ = UsualReciprocal(factor) * kOne;
  }

  // Division by one correction rounds as IEEE's (docs/adr/0007), but for quotients that are too small for any code but
  // 0. The largest magnitude bounds the others' quotients. Where subnormal values count as zeros, none of them reaches
  // 2^-36.
  __device__ bool IsUsual(float factor, float largest_magnitude) const {
    if constexpr (kDivides) {
      constexpr float kLargest = kTransform == Transform::kDivideAddZero ? 0x1p14f : 0x1p60f;  // see their codecs
      return factor >= 0x1p-80f && factor <= 0x1p100f && largest_magnitude * reciprocal_ <= kLargest * kOne;
    } else {
      return factor <= 0x1p90f;
    }
  }

  // A zero keeps its sign.
  __device__ float operator()(float value) const {
    if constexpr (!kDivides) return value * factor_;
    const float quotient = value * reciprocal_;
    const float excess = __fmaf_rn(factor_, quotient, -value);
    const float corrected = __fmaf_rn(-excess, reciprocal_, quotient);
    if constexpr (kTransform == Transform::kDivideAddZero) return corrected + zero_;
    return corrected;
  }

  // Their sum with `grid`; see ZeroPointChunkCodec.
  __device__ float Coarse(float value, float grid) const { return __fmaf_rn(value, reciprocal_, grid); }
  __device__ float zero() const { return zero_; }

  // Those that lane `lane` has. All lanes of the warp together.
  __device__ Quotients OfLane(uint32_t lane) const {
    Quotients others = *this;
    others.factor_ = __shfl_sync(kEveryLane, factor_, static_cast<int>(lane));
    if constexpr (kDivides) others.reciprocal_ = __shfl_sync(kEveryLane, reciprocal_, static_cast<int>(lane));
    if constexpr (kTransform == Transform::kDivideAddZero) {
      others.zero_ = __shfl_sync(kEveryLane, zero_, static_cast<int>(lane));
    }
    return others;
  }

 private:
  float factor_;
  float reciprocal_;
  float zero_;
};

// Added to a value it leaves the sign of its quotient, + if that is 0 and zeros have no sign: it is the largest value
// whose quotient is 0, for a divisor below 2^24.
__device__ inline float SignAddendOf(bool unsigned_zero, float divisor) {
  return unsigned_zero ? __uint_as_float(__float2uint_rz(divisor * 0.5f)) : -0.0f;
}

// The codec of each format. kPower: of the quotients it takes. Usual: what it covers besides. Words: of 16 codes.
// Where it has a sign addend, that is made once for a run.
template <Transform kTransform, class Format>
class ChunkCodec {
 public:
  static constexpr int kPower = 0;
  static constexpr bool kHasTable = false;
  static constexpr bool kHasSignAddend = false;

  __device__ explicit ChunkCodec(const FusedRules& rules) : rules_(rules) {}
  __device__ static bool IsUsual(const FusedRules&, float) { return true; }

  template <class Values>
  __device__ void Encode(const Chunk<Values>& chunk, const Quotients<kTransform, kPower>& quotients, float,
                         uint32_t (&words)[kChunkWords<Format>]) const {
    constexpr int kPerWord = 32 / Format::kBits;
#pragma unroll
    for (int w = 0; w < kChunkWords<Format>; ++w) {
      uint32_t word = 0;
#pragma unroll
      for (int i = 0; i < kPerWord; ++i) {
        const float value = chunk[w * kPerWord + i];
        word |= Encoded<OnDevice<Format>>(quotients(value), value, rules_) << (i * Format::kBits);
      }
      words[w] = word;
    }
  }

 private:
  const FusedRules& rules_;
};

// With the first code in the highest nibble, where the first in memory is that of the lowest byte.
__device__ inline uint32_t BytesReversed(uint32_t word) { return __byte_perm(word, 0, 0x0123); }

// Its own word of the table in each lane, where shuffles find it.
__device__ inline uint32_t LaneWord(const RankCells& cells) { return __ldg(&cells.words[threadIdx.x % 32]); }
__device__ inline uint32_t Ranked(uint32_t integer, int cell_shift, uint32_t lane_word) {
  return integer + __shfl_sync(kEveryLane, lane_word, static_cast<int>(integer >> cell_shift));
}

inline constexpr auto kTieBelow = [](size_t) { return false; };

__device__ const RankCells kNf4Cells = MakeRankCells<31, true>(kNf4Thresholds, kTieBelow);

template <Transform kTransform>
class ChunkCodec<kTransform, Nf4> {
 public:
  static constexpr int kPower = 31;
  static constexpr bool kHasTable = false;
  static constexpr bool kHasSignAddend = false;

  __device__ explicit ChunkCodec(const FusedRules&) : lane_word_(LaneWord(kNf4Cells)) {}
  __device__ static bool IsUsual(const FusedRules&, float) { return true; }

  template <class Values>
  __device__ void Encode(const Chunk<Values>& chunk, const Quotients<kTransform, kPower>& quotients, float,
                         uint32_t (&words)[2]) const {
#pragma unroll
    for (int w = 0; w < 2; ++w) {
      uint32_t codes = 0;
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const auto integer = static_cast<uint32_t>(__float2int_rd(quotients(chunk[w * 8 + i])));
        codes = __funnelshift_l(Ranked(integer, 27, lane_word_), codes, 4);
      }
      words[w] = BytesReversed(codes);
    }
  }

 private:
  uint32_t lane_word_;
};

__device__ const RankCells kFp4BnbCells = MakeRankCells<32, false>(kFp4BnbThresholds, kTieBelow);

template <>
class ChunkCodec<Transform::kMultiplyFtz, Fp4Bnb> {
 public:
  static constexpr int kPower = 32;
  static constexpr bool kHasTable = false;
  static constexpr bool kHasSignAddend = true;

  __device__ explicit ChunkCodec(const FusedRules&) : lane_word_(LaneWord(kFp4BnbCells)) {}
  __device__ static bool IsUsual(const FusedRules&, float) { return true; }

  // The largest value that is flushed to 0, or whose product is.
  __device__ float SignAddend(float factor) const {
    if (factor >= 1) return 0x1.fffffcp-127f;
    // Half a unit below 2^-126 is rounded to it, up to the even one; in units of 2^-60, where it is a float.
    const float smallest_kept = __fdiv_ru(0x1.fffffep-67f, factor) * 0x1p-60f;
    return __uint_as_float(__float_as_uint(smallest_kept) - 1);
  }

  template <class Values>
  __device__ void Encode(const Chunk<Values>& chunk, const Quotients<Transform::kMultiplyFtz, kPower>& quotients,
                         float sign_addend, uint32_t (&words)[2]) const {
#pragma unroll
    for (int w = 0; w < 2; ++w) {
      uint32_t codes = 0;
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const float value = chunk[w * 8 + i];
        const uint32_t rank = Ranked(__float2uint_rz(quotients(fabsf(value))), 28, lane_word_);
        const uint32_t sign = __float_as_uint(value + sign_addend) & 0x80000000u;
        codes = __funnelshift_l(rank | sign, codes, 4);
      }
      // Ranks 0 to 7 have the codes 0, 1, 6, 7, 4, 5, 2, 3.
      words[w] = BytesReversed(codes ^ (codes & 0x22222222u) << 1);
    }
  }

 private:
  uint32_t lane_word_;
};

inline constexpr float kFp4E2m1Thresholds[7] = {0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5.0f};
__device__ const RankCells kFp4E2m1Cells =
    MakeRankCells<29, false>(kFp4E2m1Thresholds, [](size_t k) { return k % 2 == 1; });

template <Transform kTransform>
class ChunkCodec<kTransform, Fp4E2m1> {
  static constexpr bool kDivides = kTransform == Transform::kDivide;

 public:
  static constexpr int kPower = 29;
  static constexpr bool kHasTable = false;
  static constexpr bool kHasSignAddend = true;

  __device__ explicit ChunkCodec(const FusedRules& rules)
      : lane_word_(LaneWord(kFp4E2m1Cells)), unsigned_zero_(rules.unsigned_zero) {}
  __device__ static bool IsUsual(const FusedRules& rules, float factor) {
    // SignAddendOf's range.
    return !rules.unsigned_zero || (kDivides ? factor < 0x1p24f : factor > 0x1p-24f);
  }

  __device__ float SignAddend(float factor) const {
    // A multiplier is a power of two.
    return SignAddendOf(unsigned_zero_, kDivides ? factor : __uint_as_float((254u << 23) - __float_as_uint(factor)));
  }

  template <class Values>
  __device__ void Encode(const Chunk<Values>& chunk, const Quotients<kTransform, kPower>& quotients, float sign_addend,
                         uint32_t (&words)[2]) const {
#pragma unroll
    for (int w = 0; w < 2; ++w) {
      uint32_t codes = 0;
#pragma unroll
      for (int i = 7; i >= 0; --i) {
        const float value = chunk[w * 8 + i];
        const uint32_t rank = Ranked(__float2uint_rz(fabsf(quotients(value))), 28, lane_word_);
        const uint32_t sign = __float_as_uint(value + sign_addend) & 0x80000000u;
        codes = __funnelshift_l(rank | sign, codes, 4);
      }
      words[w] = codes;
    }
  }

 private:
  uint32_t lane_word_;
  bool unsigned_zero_;
};

template <Transform kTransform, class Format>
class Fp8ChunkCodec {
 public:
  static constexpr int kPower = 0;
  static constexpr bool kHasTable = false;
  static constexpr bool kHasSignAddend = false;

  __device__ explicit Fp8ChunkCodec(const FusedRules&) {}
  __device__ static bool IsUsual(const FusedRules& rules, float) {
    return !rules.ieee_overflow && !rules.unsigned_zero;
  }

  template <class Values>
  __device__ void Encode(const Chunk<Values>& chunk, const Quotients<kTransform, kPower>& quotients, float,
                         uint32_t (&words)[4]) const {
#pragma unroll
    for (int w = 0; w < 4; ++w) {
      words[w] = ConvertedPair<Format>(quotients(chunk[w * 4]), quotients(chunk[w * 4 + 1])) |
                 ConvertedPair<Format>(quotients(chunk[w * 4 + 2]), quotients(chunk[w * 4 + 3])) << 16;
    }
  }
};
template <Transform kTransform>
class ChunkCodec<kTransform, Fp8E4m3> : public Fp8ChunkCodec<kTransform, Fp8E4m3> {
  using Fp8ChunkCodec<kTransform, Fp8E4m3>::Fp8ChunkCodec;
};
template <Transform kTransform>
class ChunkCodec<kTransform, Fp8E5m2> : public Fp8ChunkCodec<kTransform, Fp8E5m2> {
  using Fp8ChunkCodec<kTransform, Fp8E5m2>::Fp8ChunkCodec;
};

// Integers of 4 and 8 bits.
template <Transform kTransform, class Format>
class IntegerChunkCodec {
 public:
  static constexpr int kPower = 0;
  static constexpr bool kHasTable = false;
  static constexpr bool kHasSignAddend = false;

  __device__ explicit IntegerChunkCodec(const FusedRules& rules)
      : lowest_(rules.lowest), highest_(rules.highest), code_xor_(rules.code_xor * kRepeated) {}
  __device__ static bool IsUsual(const FusedRules&, float) { return true; }

  template <class Values>
  __device__ void Encode(const Chunk<Values>& chunk, const Quotients<kTransform, kPower>& quotients, float,
                         uint32_t (&words)[kChunkWords<Format>]) const {
#pragma unroll
    for (int w = 0; w < kChunkWords<Format>; ++w) {
      const auto code = [&](int i) {
        const float clamped = fminf(fmaxf(quotients(chunk[w * kPerWord + i]), lowest_), highest_);
        // Rounds to an integer, which the low bits then hold: of nibbles above their lowest, so that none borrows.
        return __float_as_uint(clamped + (Format::kBits == 4 ? 0x1.8p23f + 8 : 0x1.8p23f));
      };
      if constexpr (Format::kBits == 8) {
        const uint32_t low = __byte_perm(code(0), code(1), 0x0040);
        words[w] = __byte_perm(low, __byte_perm(code(2), code(3), 0x0040), 0x5410) ^ code_xor_;
      } else {
        constexpr uint32_t kMagicBits = 0x4b400000u;
        uint32_t sum = 0u - kMagicBits * kRepeated;
#pragma unroll
        for (int i = 0; i < kPerWord; ++i) sum += code(i) << (4 * i);
        words[w] = sum ^ code_xor_ ^ 0x88888888u;
      }
    }
  }

 private:
  static constexpr int kPerWord = 32 / Format::kBits;
  static constexpr uint32_t kRepeated = Format::kBits == 8 ? 0x01010101u : 0x11111111u;

  float lowest_;
  float highest_;
  uint32_t code_xor_;
};

// Integers with a zero point, which have all codes of their bits: they are limited two at a time, after rounding.
//
// kShortScales: 16-bit values, divided by scales of 16 bits. A quotient of two such floats is half an integer, or at
// least 2^-12 beside it: the difference of the value and so many scales is a multiple of half the last bit of one of
// them. Where it decides on a code it is below 2^9, and its product with the rounded reciprocal at most 2^-15 beside
// it. So one rounding to multiples of 2^-13 makes halves exact and takes nothing to the other side of them, and a
// second one, of the sum with the zero point, rounds as an exact quotient's.
template <class Format, bool kShortScales>
class ZeroPointChunkCodec {
 public:
  static constexpr int kPower = 0;
  static constexpr bool kHasTable = false;
  static constexpr bool kHasSignAddend = false;

  __device__ explicit ZeroPointChunkCodec(const FusedRules& rules) : code_xor_(rules.code_xor * kRepeated) {}
  __device__ static bool IsUsual(const FusedRules& rules, float) {
    return rules.lowest == -kHalf && rules.highest == kHalf - 1;
  }

  template <class Values>
  __device__ void Encode(const Chunk<Values>& chunk, const Quotients<Transform::kDivideAddZero, 0>& quotients, float,
                         uint32_t (&words)[kChunkWords<Format>]) const {
    constexpr uint32_t kHighest = static_cast<uint32_t>(2 * kHalf - 1) * 0x00010001u;
    // Rounds to an integer above the lowest code, of which the low bits hold 16.
    constexpr float kMagic = 0x1.8p23f + kHalf;
    constexpr float kGrid = 0x1.8p10f;  // rounds to a multiple of 2^-13
    const float addend = kShortScales ? kMagic - kGrid + quotients.zero() : kMagic;
#pragma unroll
    for (int w = 0; w < kChunkWords<Format>; ++w) {
      const auto code = [&](int i) {
        const float value = chunk[w * kPerWord + i];
        return __float_as_uint((kShortScales ? quotients.Coarse(value, kGrid) : quotients(value)) + addend);
      };
      uint32_t word = 0;
#pragma unroll
      for (int i = 0; i < kPerWord / 2; ++i) {
        const uint32_t pair = __byte_perm(code(i), code(i + kPerWord / 2), 0x5410);
        word += __vimin_s16x2_relu(pair, kHighest) << (Format::kBits * i);
      }
      words[w] = word ^ code_xor_ ^ kRepeated << (Format::kBits - 1);
    }
  }

 private:
  static constexpr float kHalf = static_cast<float>(1 << (Format::kBits - 1));
  static constexpr int kPerWord = 32 / Format::kBits;
  static constexpr uint32_t kRepeated = Format::kBits == 8 ? 0x01010101u : 0x11111111u;

  uint32_t code_xor_;
};
template <>
class ChunkCodec<Transform::kDivideAddZero, Int4> : public ZeroPointChunkCodec<Int4, false> {
  using ZeroPointChunkCodec<Int4, false>::ZeroPointChunkCodec;
};
template <>
class ChunkCodec<Transform::kDivideAddZero, Int8> : public ZeroPointChunkCodec<Int8, false> {
  using ZeroPointChunkCodec<Int8, false>::ZeroPointChunkCodec;
};
template <Transform kTransform>
class ChunkCodec<kTransform, Int4> : public IntegerChunkCodec<kTransform, Int4> {
  using IntegerChunkCodec<kTransform, Int4>::IntegerChunkCodec;
};
template <Transform kTransform>
class ChunkCodec<kTransform, Int8> : public IntegerChunkCodec<kTransform, Int8> {
  using IntegerChunkCodec<kTransform, Int8>::IntegerChunkCodec;
};

// Words by the upper bits of a value times 2^-95, and those of negative values mirrored below: the sum of a value's
// bits and its cell's word has the code in its upper byte. An octave of subnormals comes before the first of
// kDynamic8Cells.
inline constexpr int kDynamic8Power = -95;
inline constexpr uint32_t kDynamic8Octave = 64;
inline constexpr uint32_t kDynamic8HalfWords = kDynamic8Octave + kDynamic8Cells;

struct Dynamic8Words {
  uint32_t words[2 * kDynamic8HalfWords];
};
consteval Dynamic8Words MakeDynamic8Words() {
  Dynamic8Words table{};
  for (uint32_t i = 0; i < kDynamic8HalfWords; ++i) {
    const uint32_t cell = i < kDynamic8Octave ? 0 : i - kDynamic8Octave;
    const uint32_t first = i << kDynamic8CellShift;
    for (const bool negative : {false, true}) {
      // Rank = (entry + bits within the cell) >> kDynamic8RankShift.
      const uint32_t entry = kDynamic8CellEntries[cell + (negative ? kDynamic8Cells : 0)];
      const uint32_t rank = entry >> kDynamic8RankShift;
      const uint32_t until_next = ((rank + 1) << kDynamic8RankShift) - entry;
      const bool has_next = until_next <= kDynamic8CellMask;
      if (!negative) {
        const uint32_t base = has_next ? ((rank + 1) << 24) - until_next : rank << 24;
        table.words[kDynamic8HalfWords + i] = base - first;
      } else {
        // ~bits rise with the value: the cell's last magnitude comes first, and those of the next rank before the
        // others.
        const uint32_t code = 255 - rank;
        const uint32_t base = has_next ? (code << 24) - (kDynamic8CellMask + 1 - until_next) : code << 24;
        table.words[kDynamic8HalfWords - 1 - i] = base - ~(first | kDynamic8CellMask);
      }
    }
  }
  return table;
}
__device__ const Dynamic8Words kDynamic8WordTable = MakeDynamic8Words();

// Of values times the factor; a smaller one times 2^-95 has fewer bits.
__device__ inline bool HasDynamic8Words(float factor) { return factor >= 0x1p-30f && factor <= 0x1p90f; }

// The code in the upper byte, of a value times factor times 2^-95. `words` is the word of 0.
__device__ inline uint32_t Dynamic8Sum(float scaled, const uint32_t* words) {
  const int32_t bits = __float_as_int(scaled);
  const int32_t ordered = bits ^ (bits >> 31 & 0x7fffffff);
  return static_cast<uint32_t>(ordered) + words[ordered >> kDynamic8CellShift];
}

// Its table is in shared memory: all threads of a CTA make it, and stay for many chunks.
template <>
class ChunkCodec<Transform::kMultiplyFtz, Dynamic8> {
 public:
  static constexpr int kPower = kDynamic8Power;
  static constexpr bool kHasTable = true;
  static constexpr bool kHasSignAddend = false;

  __device__ explicit ChunkCodec(const FusedRules&) {
    __shared__ uint4 table[kDynamic8HalfWords * 2 / 4];
    for (uint32_t i = threadIdx.x; i < kDynamic8HalfWords * 2 / 4; i += blockDim.x) {
      table[i] = __ldg(reinterpret_cast<const uint4*>(kDynamic8WordTable.words) + i);
    }
    __syncthreads();
    words_ = reinterpret_cast<const uint32_t*>(table) + kDynamic8HalfWords;
  }
  __device__ static bool IsUsual(const FusedRules&, float factor) { return HasDynamic8Words(factor); }

  template <class Values>
  __device__ void Encode(const Chunk<Values>& chunk, const Quotients<Transform::kMultiplyFtz, kPower>& quotients, float,
                         uint32_t (&words)[4]) const {
#pragma unroll
    for (int w = 0; w < 4; ++w) {
      const auto sum = [&](int i) { return Dynamic8Sum(quotients(chunk[w * 4 + i]), words_); };
      const uint32_t low = __byte_perm(sum(0), sum(1), 0x0073);
      words[w] = __byte_perm(low, __byte_perm(sum(2), sum(3), 0x0073), 0x5410);
    }
  }

 private:
  const uint32_t* words_;  // of the value 0
};

}  // namespace
}  // namespace quantd
