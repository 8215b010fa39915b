// Encoding bfloat16 as small floats where every factor is a power of two, as MX has them: values are scaled by adding
// to their exponents, as 16-bit words, twice as many to a register as there would be floats.
#pragma once

#include "kernels/cpu/simd_word_loop-inl.h"
#include "kernels/cpu/word_codes.h"

namespace quantd {
namespace {

// Codes of kernels/cpu/word_codes.h from steps that are at most kLargestStep.
template <class L, class Format>
class QuarterCodec {
  using Int = typename L::Int;

 public:
  // Written out, because compilers build implicit constructors for the baseline target.
  QuarterCodec() : entries_(L::LoadInts(kEntries.data())) {}
  Int Codes(Int steps) const {
    const Int entry = L::LookUpWords(entries_, L::template ShiftRightWords<kQuarterBits>(steps));
    return L::template ShiftRightWords<kQuarterBits>(L::AddWords(steps, entry));
  }

 private:
  alignas(64) static constexpr std::array<uint16_t, 32> kEntries = MakeQuarterEntries<Format>();
  Int entries_;
};

// The same without a table.
template <class L, class Format>
class CountingCodec {
  using Int = typename L::Int;

 public:
  static Int Codes(Int steps) {
    Int codes = L::Splat(0u);
    for (const uint16_t first : kFirstSteps) codes = L::CountGreaterWords(steps, L::SplatWords(first - 1), codes);
    return codes;
  }

 private:
  static constexpr auto kFirstSteps = MakeFirstSteps<Format>();
};

template <class L, class Format>
class ExponentCodec {
  using Int = typename L::Int;

 public:
  ExponentCodec() : shifts_(L::LoadInts(kEntries.shift.data())), addends_(L::LoadInts(kEntries.addend.data())) {}
  Int Codes(Int steps) const {
    Int exponent = L::template ShiftRightWords<kStepsPerExponentBits>(steps);
    constexpr uint32_t kLargestExponent = WordSteps<Format>::kLargestStep >> kStepsPerExponentBits;
    if constexpr (kLargestExponent > 31) exponent = L::MinWords(exponent, L::SplatWords(31));
    const Int shift = L::LookUpWords(shifts_, exponent);
    const Int odd = L::And(L::ShiftRightWordsBy(steps, shift), L::SplatWords(1));
    return L::ShiftRightWordsBy(L::AddWords(L::AddWords(steps, L::LookUpWords(addends_, exponent)), odd), shift);
  }

 private:
  alignas(64) static constexpr ExponentEntries kEntries = MakeExponentEntries<Format>();
  Int shifts_;
  Int addends_;
};

template <class L, class Format>
using StepCodec =
    std::conditional_t<!L::kHasWordTables, CountingCodec<L, Format>,
                       std::conditional_t<Format::kBits == 4, QuarterCodec<L, Format>, ExponentCodec<L, Format>>>;

template <class L, class Format, class Values>
consteval bool HasWordEncoder() {
  return Format::kKind == ElementKind::kMiniFloat && std::is_same_v<Values, BFloat16Values> &&
         (Format::kBits == 4 || L::kHasWordTables);
}

// Takes over from an Encoder where CanEncode.
template <class L, Transform kTransform, class Format, bool kUnsignedZero>
class WordEncoder : public WordLoop<L, kTransform, Format, BFloat16Values, kUnsignedZero> {
  using Base = WordLoop<L, kTransform, Format, BFloat16Values, kUnsignedZero>;
  using Float = typename L::Float;
  using Int = typename L::Int;
  using Base::job_;

  // 2^-16: any value but 0 stays one, and keeps its sign, in float32. 2^100: what is subnormal has the code 0.
  static constexpr float kSmallestScale = 0x1p-16f;
  static constexpr float kLargestScale = 0x1p100f;

 public:
  explicit WordEncoder(const EncodeJob& job) : Base(job) {}

  static bool CanEncode(const EncodeJob& job) {
    if (!Encoder<L, kTransform, Format, BFloat16Values, kUnsignedZero>::CanEncode(job)) return false;
    const uint64_t runs = job.element_count / job.run_elements;
    for (uint64_t run = 0; run < runs; run += L::kLanes) {
      const Float scales = ScalesOf(LoadRuns<L>(job.factors + run, std::min<uint64_t>(runs - run, L::kLanes)));
      if (!AllBetween<L>(scales, kSmallestScale, kLargestScale)) return false;
      if (L::AnyAbove(L::And(L::Bits(scales), L::Splat(0x7fffffu)), L::Splat(0u))) return false;
    }
    return true;
  }

  void Prepare(uint64_t run, uint64_t count) {
    first_prepared_ = run;
    const Int scales = L::Bits(ScalesOf(LoadRuns<L>(job_.factors + run, count)));
    // The word of kFirstWord's magnitude before it is scaled.
    constexpr uint32_t kOne = 127u << kStepsPerExponentBits;
    const Int first = L::Subtract(L::Splat(WordSteps<Format>::kFirstWord + kOne), L::template ShiftRight<16>(scales));
    L::StoreInts(first_words_, L::Or(first, L::template ShiftLeft<16>(first)));
  }

  // False, and nothing written, if a value is NaN.
  template <size_t kRun>
  [[gnu::always_inline]] bool PreparedStep(uint64_t run, uint64_t begin) const {
    const typename Base::Words words = Base::Load(begin);
    if (Base::AnyAbove(words, BFloat16Values::kInfinity)) return false;
    const float* const first_words = first_words_ + (run - first_prepared_);
    const Int low_codes = CodesOf(words.low, words.low_magnitudes, L::Bits(SpreadRuns<kRun, 0>(first_words)));
    const Int high_codes = CodesOf(words.high, words.high_magnitudes, L::Bits(SpreadRuns<kRun, 2>(first_words)));
    Base::Store(begin, L::PackUnsignedBytes(low_codes, high_codes));
    return true;
  }

 private:
  // Pairs of words lie as interleaved pairs of floats do.
  template <size_t kRun, size_t kRegister>
  static Float SpreadRuns(const float* runs) {
    return L::template SpreadRuns<kRun, kRegister, true>(runs);
  }

  static Float ScalesOf(Float factors) {
    if constexpr (kTransform == Transform::kMultiply) return factors;
    return L::Divide(L::Splat(1.0f), factors);
  }

  Int CodesOf(Int words, Int magnitudes, Int first_word) const {
    const Int steps =
        L::MinWords(L::SubtractSaturatedWords(magnitudes, first_word), L::SplatWords(WordSteps<Format>::kLargestStep));
    const Int signs = kUnsignedZero ? L::AndWhereNotZeroWords(magnitudes, words) : words;
    const Int sign_codes =
        L::And(L::template ShiftRightWords<16 - Format::kBits>(signs), L::SplatWords(Format::kSignCode));
    return L::Or(codec_.Codes(steps), sign_codes);
  }

  StepCodec<L, Format> codec_;
  uint64_t first_prepared_ = 0;
  alignas(64) float first_words_[L::kLanes];  // twice each, as bits
};

}  // namespace
}  // namespace quantd
