// Encoding, four registers at a time. Data that a quick step does not cover is left to the exact one, what that does
// not (NaN, quotients beyond its range) to the portable loop, step by step or run by run.
#pragma once

#include "kernels/cpu/portable_kernels-inl.h"
#include "kernels/cpu/simd_codecs-inl.h"
#include "kernels/cpu/simd_runs-inl.h"
#include "kernels/cpu/simd_word_codecs-inl.h"

namespace quantd {
namespace {

// What the values of one register are transformed with.
template <class L>
struct Factor {
  typename L::Float factor;
  typename L::Float reciprocal;  // of a divisor
  typename L::Float addend;      // the zero point, or LargestOfQuotientZero
  typename L::Float word;        // factor or reciprocal, times WordBins::scale (and kWordUnit)
};

// Where the transforms below are exact enough. Divisors: see Transformed. Multipliers that flush: no subnormal value
// times such a factor reaches 2^-26, which has the code of 0 in every format, and FP4 looks at the value's own sign.
// Others: positive, so that signs stay.
template <Transform kTransform>
inline constexpr float kSmallestFactor = kTransform == Transform::kMultiply      ? 0x1p-149f
                                         : kTransform == Transform::kMultiplyFtz ? 0x1p-126f
                                                                                 : 0x1p-80f;
template <Transform kTransform>
inline constexpr float kLargestFactor = kTransform == Transform::kMultiply ? 0x1.fffffep127f : 0x1p100f;

// The portable loop, as it is compiled for every machine.
template <Transform kTransform, class Format, class Values>
void PortableEncodeOf(const EncodeJob& job) {
  kBaselineKernels
      .encode[static_cast<size_t>(kTransform)][static_cast<size_t>(Format::kElement)][kFloatTypeIndexOf<Values>](job);
}

// Of a divisor, the largest magnitude of a value whose quotient is 0: those up to divisor * 2^-150, on the grid of
// subnormals. Added to a value it leaves the sign of the quotient, + if that is 0.
template <class L>
inline typename L::Float LargestOfQuotientZero(typename L::Float divisor) {
  const auto below_normal = L::Truncate(L::Multiply(divisor, L::Splat(0.5f)));
  const auto normal = L::Subtract(L::Bits(divisor), L::Splat(150u << 23));
  return L::AsFloat(L::Select(L::Greater(L::Splat(0x1p24f), divisor), below_normal, normal));
}

// kUnsignedZero: EncodeJob::unsigned_zero, of small floats.
template <class L, Transform kTransform, class Format, class Values, bool kUnsignedZero>
class Encoder {
  using Float = typename L::Float;
  using Int = typename L::Int;

  static constexpr size_t kValueBytes = sizeof(typename Values::Bits);
  static constexpr size_t kCacheLineBytes = 64;
  static constexpr bool kChecksFactors = kTransform != Transform::kMultiply || Format::kKind == ElementKind::kMiniFloat;
  static constexpr bool kDivides = kTransform == Transform::kDivide || kTransform == Transform::kDivideAddZero;
  static constexpr bool kHasSigns = Format::kKind == ElementKind::kMiniFloat;
  static constexpr bool kHasAddend = kTransform == Transform::kDivideAddZero || (kDivides && kUnsignedZero);
  static constexpr bool kByWords = kHasWordCodec<L, kTransform, Format, kUnsignedZero>;

 public:
  static constexpr bool kPreparesLongRuns = true;

  explicit Encoder(const EncodeJob& job) : job_(job), codec_(job) {}

  static bool CanEncode(const EncodeJob& job) {
    return Codec<L, Format>::CanEncode(job) && job.unsigned_zero == kUnsignedZero;
  }

  // All of [begin, begin + count) belongs to one run.
  void OneRun(uint64_t run, uint64_t begin, uint64_t count) {
    const float factor = job_.factors[run];
    if constexpr (kTransform == Transform::kMultiplyFtz) {
      if (factor == std::numeric_limits<float>::infinity() && IsZero(begin, count)) {
        // 0 times infinity is NaN, whose code is 0; only codes of a byte are XORed.
        std::memset(job_.codes + begin * Format::kBits / 8, static_cast<int>(job_.code_xor),
                    (count * Format::kBits + 7) / 8);
        return;
      }
    }
    if (kChecksFactors && !(factor >= kSmallestFactor<kTransform> && factor <= kLargestFactor<kTransform>)) {
      Portable(run, begin, count);
      return;
    }
    const Factor<L> splat = FactorOf(L::Splat(factor), L::Splat(kHasZero ? job_.zeros[run] : 0.0f));
    const uint64_t end = begin + count / L::kStep * L::kStep;
    uint64_t i = begin;
    while (i < end) {
      // No call within, because it would take the constants out of their registers.
      while (i < end && QuickStep(job_.values + i * kValueBytes, splat, splat, splat, splat, CodesAt(i))) i += L::kStep;
      if (i == end) break;
      ExactOfOneRun(run, i, splat);
      i += L::kStep;
    }
    if (count % L::kStep != 0) Tail(run, end, count % L::kStep, splat);
  }

  // Before the steps of `count` runs, at most kLanes: what QuickStep needs of them.
  void Prepare(uint64_t run, uint64_t count) {
    first_prepared_ = run;
    const Float factors = LoadRuns<L>(job_.factors + run, count);
    usual_ = !kChecksFactors || AllBetween<L>(factors, kSmallestFactor<kTransform>, kLargestFactor<kTransform>);
    if constexpr (kByWords) {
      L::StoreFloats(words_, WordFactor(factors));
    } else {
      const Factor<L> prepared = FactorOf(factors, kHasZero ? LoadRuns<L>(job_.zeros + run, count) : factors);
      if constexpr (kDivides) L::StoreFloats(reciprocals_, prepared.reciprocal);
      if constexpr (kHasAddend) L::StoreFloats(addends_, prepared.addend);
    }
  }

  // A step of prepared runs, of kRun elements or, if kRun is kStep, a multiple of it. False, and nothing written, if it
  // needs SlowStep.
  template <size_t kRun>
  [[gnu::always_inline]] bool PreparedStep(uint64_t run, uint64_t begin) const {
    return usual_ && QuickStep(job_.values + begin * kValueBytes, Spread<kRun, 0>(run), Spread<kRun, 1>(run),
                               Spread<kRun, 2>(run), Spread<kRun, 3>(run), CodesAt(begin));
  }
  template <size_t kRun>
  [[gnu::noinline]] void SlowStep(uint64_t run, uint64_t begin) {
    if (!usual_) {
      for (size_t i = 0; i < L::kStep / kRun; ++i) OneRun(run + i, begin + i * kRun, kRun);
      return;
    }
    if constexpr (kByWords) {
      if (Step(job_.values + begin * kValueBytes, ExactSpread<kRun, 0>(run), ExactSpread<kRun, 1>(run),
               ExactSpread<kRun, 2>(run), ExactSpread<kRun, 3>(run), CodesAt(begin))) {
        return;
      }
    }
    Portable(run, begin, L::kStep);
  }

 private:
  static constexpr bool kHasZero = kTransform == Transform::kDivideAddZero;

  std::byte* CodesAt(uint64_t index) const { return job_.codes + index * Format::kBits / 8; }

  static Float WordFactor(Float factor) {
    const Float scale = L::Splat(WordFormat<Format>::kBins.scale * kWordUnit);
    return kDivides ? L::Divide(scale, factor) : L::Multiply(scale, factor);
  }
  static Factor<L> FactorOf(Float factor, Float zero) {
    Factor<L> all{factor, factor, zero, factor};
    if constexpr (kDivides) all.reciprocal = L::Divide(L::Splat(1.0f), factor);
    if constexpr (kDivides && kUnsignedZero) all.addend = LargestOfQuotientZero<L>(factor);
    if constexpr (kByWords) all.word = WordFactor(factor);
    return all;
  }

  template <size_t kRun, size_t kRegister>
  Float SpreadRuns(const float* runs) const {
    return L::template SpreadRuns<kRun, kRegister, L::template kInterleaved<Values>>(runs);
  }
  template <size_t kRun, size_t kRegister>
  Factor<L> Spread(uint64_t run) const {
    const uint64_t index = run - first_prepared_;
    Factor<L> all;
    if constexpr (kByWords) {
      all.word = SpreadRuns<kRun, kRegister>(words_ + index);
    } else {
      all.factor = SpreadRuns<kRun, kRegister>(job_.factors + run);
      if constexpr (kDivides) all.reciprocal = SpreadRuns<kRun, kRegister>(reciprocals_ + index);
      if constexpr (kHasAddend) all.addend = SpreadRuns<kRun, kRegister>(addends_ + index);
    }
    return all;
  }
  template <size_t kRun, size_t kRegister>
  Factor<L> ExactSpread(uint64_t run) const {
    return FactorOf(SpreadRuns<kRun, kRegister>(job_.factors + run), L::Splat(0.0f));
  }

  // The quotient by one correction of x · (1 / s), which is x / s rounded once, but for quotients that are too small
  // for any code but 0 (below 2^-22: the remainder of a value below 2^-102 may have too few bits) and infinite ones,
  // which become NaN. tests/kernels/cpu/division_test.cc has the proof.
  static Float Transformed(Float x, const Factor<L>& f) {
    Float y = L::Multiply(x, kDivides ? f.reciprocal : f.factor);
    if constexpr (kDivides) y = L::MultiplyAdd(L::NegatedMultiplyAdd(f.factor, y, x), f.reciprocal, y);
    if constexpr (kHasZero) y = L::Add(y, f.addend);
    return y;
  }

  // Something of the sign that the code will have: of quotients the value, because those that are 0 have lost theirs.
  static Float Signed(Float x, Float y, const Factor<L>& f) {
    if constexpr (kDivides) return kUnsignedZero ? L::Add(x, f.addend) : x;
    return kUnsignedZero ? L::Add(y, L::Splat(0.0f)) : y;
  }

  [[gnu::always_inline]] bool QuickStep(const std::byte* values, const Factor<L>& f0, const Factor<L>& f1,
                                        const Factor<L>& f2, const Factor<L>& f3, std::byte* codes) const {
    // Into the second-level cache, because the first has no room beside a strip; all lines, because a miss of each
    // fourth while the range is found costs more than it saves here.
    for (size_t line = 0; line < L::kStep * kValueBytes; line += kCacheLineBytes) {
      _mm_prefetch(reinterpret_cast<const char*>(values) + job_.next_distance + line, _MM_HINT_T1);
    }
    if constexpr (kByWords) {
      return WordStep(values, f0, f1, f2, f3, codes);
    } else {
      return Step(values, f0, f1, f2, f3, codes);
    }
  }

  // False, and nothing written, if a value's word leaves its code open.
  [[gnu::always_inline]] bool WordStep(const std::byte* values, const Factor<L>& f0, const Factor<L>& f1,
                                       const Factor<L>& f2, const Factor<L>& f3, std::byte* codes) const {
    Float x0, x1, x2, x3;
    L::template LoadPair<Values>(values, x0, x1);
    L::template LoadPair<Values>(values + 2 * L::kLanes * kValueBytes, x2, x3);
    const Int c0 = L::RoundDown(L::Multiply(x0, f0.word));
    const Int c1 = L::RoundDown(L::Multiply(x1, f1.word));
    const Int c2 = L::RoundDown(L::Multiply(x2, f2.word));
    const Int c3 = L::RoundDown(L::Multiply(x3, f3.word));
    Int bytes;
    if (!word_codec_.Encode(JoinWords(c0, c1), JoinWords(c2, c3), bytes)) return false;
    StoreCodes<L, Format>(codes, kJoinsHalves ? L::InOrderOfWords(bytes) : L::template InOrder<false>(bytes));
    return true;
  }

  // Interleaved values' words lie in order if they are upper halves, which saturate as well.
  static constexpr bool kJoinsHalves = L::template kInterleaved<Values>;
  static constexpr float kWordUnit = kJoinsHalves ? 0x1p16f : 1.0f;
  static Int JoinWords(Int first, Int second) {
    if constexpr (kJoinsHalves) return L::JoinHalves(L::template ShiftRight<16>(first), second);
    return L::PackWords(first, second);
  }

  // False, and nothing written, if the codec does not cover the values.
  [[gnu::always_inline]] bool Step(const std::byte* values, const Factor<L>& f0, const Factor<L>& f1,
                                   const Factor<L>& f2, const Factor<L>& f3, std::byte* codes) const {
    constexpr bool kInterleaved = L::template kInterleaved<Values>;
    Float x0, x1, x2, x3;
    L::template LoadPair<Values>(values, x0, x1);
    L::template LoadPair<Values>(values + 2 * L::kLanes * kValueBytes, x2, x3);
    const Float y0 = Transformed(x0, f0);
    const Float y1 = Transformed(x1, f1);
    const Float y2 = Transformed(x2, f2);
    const Float y3 = Transformed(x3, f3);
    if (!Codec<L, Format>::Covers(y0, y1, y2, y3)) return false;
    const Int c0 = codec_.Codes(x0, y0);
    const Int c1 = codec_.Codes(x1, y1);
    const Int c2 = codec_.Codes(x2, y2);
    const Int c3 = codec_.Codes(x3, y3);
    if constexpr (Format::kBits == 16) {
      L::template StoreWordPair<kInterleaved>(codes, c0, c1);
      L::template StoreWordPair<kInterleaved>(codes + 4 * L::kLanes, c2, c3);
    } else {
      const Int low_words = L::PackWords(c0, c1);
      const Int high_words = L::PackWords(c2, c3);
      if constexpr (Format::kKind == ElementKind::kInteger) {
        // NaN and what is beyond int32 have become the lowest int32.
        if (L::AnyEqualWords(L::MinWords(low_words, high_words), L::SplatWords(0x8000))) return false;
      }
      Int bytes = codec_.Finish(Codec<L, Format>::PackBytes(low_words, high_words));
      if constexpr (kHasSigns) {
        bytes = L::Or(bytes, Codec<L, Format>::Signs(Signed(x0, y0, f0), Signed(x1, y1, f1), Signed(x2, y2, f2),
                                                     Signed(x3, y3, f3)));
      }
      StoreCodes<L, Format>(codes, L::template InOrder<kInterleaved>(bytes));
    }
    return true;
  }

  // A step that QuickStep does not cover.
  [[gnu::noinline]] void ExactOfOneRun(uint64_t run, uint64_t begin, const Factor<L>& splat) const {
    if (kByWords && Step(job_.values + begin * kValueBytes, splat, splat, splat, splat, CodesAt(begin))) return;
    Portable(run, begin, L::kStep);
  }

  // Fewer elements than a step: the step on a copy, zeros behind them.
  [[gnu::noinline]] void Tail(uint64_t run, uint64_t begin, uint64_t count, const Factor<L>& splat) const {
    alignas(64) std::byte values[L::kStep * kValueBytes] = {};
    alignas(64) std::byte codes[L::kStep * Format::kBits / 8];
    std::memcpy(values, job_.values + begin * kValueBytes, count * kValueBytes);
    if (!Step(values, splat, splat, splat, splat, codes)) {
      Portable(run, begin, count);
      return;
    }
    const size_t bits = count * Format::kBits;
    // nf4 and fp4_bnb pad with the code of 0, the others with zero bits.
    if (!Format::kFirstInHighNibble && bits % 8 != 0) codes[bits / 8] &= static_cast<std::byte>((1u << bits % 8) - 1);
    std::memcpy(CodesAt(begin), codes, (bits + 7) / 8);
  }

  // Whether nothing is left of the values when subnormals are flushed.
  bool IsZero(uint64_t begin, uint64_t count) const {
    for (uint64_t i = begin; i < begin + count; ++i) {
      const float value = LoadValue<Values>(job_.values, i);
      if ((std::bit_cast<uint32_t>(value) & 0x7f800000u) != 0) return false;
    }
    return true;
  }

  [[gnu::noinline]] void Portable(uint64_t run, uint64_t begin, uint64_t count) const {
    EncodeJob part = job_;
    part.values += begin * kValueBytes;
    part.codes += begin * Format::kBits / 8;
    part.element_count = count;
    part.factors += run;
    if (kHasZero) part.zeros += run;
    PortableEncodeOf<kTransform, Format, Values>(part);
  }

  const EncodeJob& job_;
  Codec<L, Format> codec_;
  [[no_unique_address]] std::conditional_t<kByWords, WordCodec<L, Format>, NoWordCodec> word_codec_;
  // Of the prepared runs, from the first on.
  uint64_t first_prepared_ = 0;
  bool usual_ = false;
  alignas(64) float reciprocals_[L::kLanes];
  alignas(64) float addends_[L::kLanes];
  alignas(64) float words_[L::kLanes];
};

}  // namespace
}  // namespace quantd
