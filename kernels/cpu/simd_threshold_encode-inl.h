// Encoding float16 and bfloat16 as 4-bit elements with a sign by comparing the values' own bits, twice as many to a
// register as there would be floats. The codes of a run are ranks among thresholds of its own: the largest words that
// are not above them. Each is found from the transform itself, so that every code is exact, ties included.
#pragma once

#include "kernels/cpu/run_thresholds.h"
#include "kernels/cpu/simd_word_loop-inl.h"

namespace quantd {
namespace {

// Words of magnitudes and what they stand for, in lanes of 32 bits.
template <class L, class Values>
struct MagnitudeWords {
  using Float = typename L::Float;
  using Int = typename L::Int;
  // Of what is not above a positive number.
  static Int LargestUpTo(Float number) {
    if constexpr (std::is_same_v<Values, BFloat16Values>) return L::template ShiftRight<16>(L::Bits(number));
    return L::Float16BitsDown(number);
  }
  static Float Widen(Int words) {
    if constexpr (std::is_same_v<Values, BFloat16Values>) return L::AsFloat(L::template ShiftLeft<16>(words));
    return L::FromFloat16Bits(words);
  }
};

// Thresholds of as many runs as a register has lanes, and ranks among them: where words can be looked up, by halving.
template <class L>
class RankSearch {
  using Int = typename L::Int;

 public:
  RankSearch()
      : four_(L::KeptWords(4)), two_(L::KeptWords(2)), one_(L::KeptWords(1)), seven_(L::KeptWords(kRanks - 1)) {}

  // The last is not a rank's, but the one that a value with a sign is above.
  void Store(const Int (&thresholds)[kRanks]) { L::StoreEights(eights_, thresholds); }

  // Of the runs of one step, the first at `index`.
  template <size_t kRun>
  class Step {
   public:
    Step(const RankSearch& search, uint64_t index)
        : search_(search),
          thresholds_(L::template LoadEights<kRun>(search.eights_ + index)),
          swapped_(L::SwapWords(thresholds_)) {}

    template <size_t kRegister>
    Int RanksOf(Int magnitudes) const {
      const Int run = L::LoadInts(kFirstOfRun<kRegister>.data());
      const Int fourth = L::LookUpWords(swapped_, L::Or(run, L::SplatWords(2)));
      const Int fours = L::AddWhereGreaterWords(magnitudes, fourth, run, L::SplatWords(4));
      const Int twos = L::AddWhereGreaterWords(magnitudes, L::LookUpWords(swapped_, fours), fours, L::SplatWords(2));
      return L::AddWhereGreaterWords(magnitudes, L::LookUpWords(thresholds_, twos), twos, L::SplatWords(1));
    }
    template <size_t kRegister>
    Int SignThresholds() const {
      return L::LookUpWords(thresholds_, L::Or(L::LoadInts(kFirstOfRun<kRegister>.data()), search_.seven_));
    }

   private:
    // Where the thresholds of each lane's run begin. Ranks are returned with these, above their 3 bits.
    template <size_t kRegister>
    alignas(64) static constexpr auto kFirstOfRun = [] {
      std::array<uint16_t, 2 * L::kLanes> first{};
      for (size_t lane = 0; lane < first.size(); ++lane) {
        first[lane] = static_cast<uint16_t>((kRegister * first.size() + lane) / kRun * kRanks);
      }
      return first;
    }();

    const RankSearch& search_;
    Int thresholds_;
    Int swapped_;  // in pairs: those that come first in the search are where its index points to
  };

 private:
  Int four_;
  Int two_;
  Int one_;
  Int seven_;
  alignas(64) uint16_t eights_[L::kLanes][kRanks];
};

// Elsewhere by counting.
template <class L>
class RankCount {
  using Int = typename L::Int;

 public:
  void Store(const Int (&thresholds)[kRanks]) {
    for (size_t k = 0; k < kRanks; ++k) {
      L::StoreInts(doubled_[k], L::Or(thresholds[k], L::template ShiftLeft<16>(thresholds[k])));
    }
  }

  template <size_t kRun>
  class Step {
   public:
    Step(const RankCount& count, uint64_t index) : count_(count), index_(index) {}

    template <size_t kRegister>
    Int RanksOf(Int magnitudes) const {
      Int ranks = L::Splat(0u);
      for (size_t k = 0; k + 1 < kRanks; ++k) ranks = L::CountGreaterWords(magnitudes, Threshold<kRegister>(k), ranks);
      return ranks;
    }
    template <size_t kRegister>
    Int SignThresholds() const {
      return Threshold<kRegister>(kRanks - 1);
    }

   private:
    // Pairs of words lie as interleaved pairs of floats do.
    template <size_t kRegister>
    Int Threshold(size_t k) const {
      return L::Bits(L::template SpreadRuns<kRun, 2 * kRegister, true>(count_.doubled_[k] + index_));
    }

    const RankCount& count_;
    uint64_t index_;
  };

 private:
  alignas(64) float doubled_[kRanks][L::kLanes];  // twice each, as bits
};

template <class L, Transform kTransform, class Format, class Values>
consteval bool HasThresholdEncoder() {
  if (std::is_same_v<Values, Float32Values>) return false;
  if (std::is_same_v<Format, Fp4Bnb>) return kTransform == Transform::kMultiplyFtz;
  return Format::kKind == ElementKind::kMiniFloat && Format::kBits == 4 &&
         (kTransform == Transform::kMultiply || kTransform == Transform::kDivide);
}

template <class L, Transform kTransform, class Format, class Values, bool kUnsignedZero>
class ThresholdEncoder : public WordLoop<L, kTransform, Format, Values, kUnsignedZero> {
  using Base = WordLoop<L, kTransform, Format, Values, kUnsignedZero>;
  using Float = typename L::Float;
  using Int = typename L::Int;
  using Base::job_;
  using Words = MagnitudeWords<L, Values>;
  using Ranks = std::conditional_t<L::kHasWordTables, RankSearch<L>, RankCount<L>>;
  static constexpr bool kDivides = kTransform == Transform::kDivide;
  static constexpr bool kSomeLoseSigns = kUnsignedZero || kTransform == Transform::kMultiplyFtz;
  static constexpr auto kThresholds = MakeRunThresholds<Format>();

  // No threshold leaves the normal floats, and no value but 0 becomes 0 when it is multiplied.
  static constexpr float kSmallest = kDivides                             ? kSmallestFactor<kTransform>
                                     : kTransform == Transform::kMultiply ? 0x1p-16f
                                                                          : 0x1p-100f;
  static constexpr float kLargest = 0x1p100f;

 public:
  // In shorter runs finding thresholds takes longer than codes that are looked up do.
  static constexpr uint64_t kRunMin = L::kHasWordTables ? 32 : 16;

  explicit ThresholdEncoder(const EncodeJob& job) : Base(job), rank_bits_(L::KeptWords(kRanks - 1)) {
    // Ranks 0 to 7 without and with a sign; Fp4Bnb::Encode.
    if constexpr (std::is_same_v<Format, Fp4Bnb>) codes_ = L::LoadByteTable(kFp4BnbCodes);
  }

  void Prepare(uint64_t run, uint64_t count) {
    first_prepared_ = run;
    const Float factors = LoadRuns<L>(job_.factors + run, count);
    usual_ = AllBetween<L>(factors, kSmallest, kLargest);
    if (!usual_) return;
    const Float reciprocals = L::Divide(L::Splat(1.0f), factors);
    Int thresholds[kRanks];
    for (size_t k = 0; k < kThresholds.size(); ++k) {
      thresholds[k] = LargestUpTo(kThresholds[k], factors, reciprocals);
    }
    thresholds[kRanks - 1] = LargestWithoutSign(factors, reciprocals);
    ranks_.Store(thresholds);
  }

  // False, and nothing written, if a factor is unusual or a value not finite.
  template <size_t kRun>
  [[gnu::always_inline]] bool PreparedStep(uint64_t run, uint64_t begin) const {
    const typename Base::Words words = Base::Load(begin);
    if (!usual_ || Base::AnyAbove(words, Values::kInfinity - 1)) return false;
    const typename Ranks::template Step<kRun> step(ranks_, run - first_prepared_);
    const Int low_codes = CodesOf<0>(step, words.low, words.low_magnitudes);
    const Int high_codes = CodesOf<1>(step, words.high, words.high_magnitudes);
    Int bytes = L::PackUnsignedBytes(low_codes, high_codes);
    if constexpr (std::is_same_v<Format, Fp4Bnb>) bytes = L::ShuffleBytes(codes_, bytes);
    Base::Store(begin, bytes);
    return true;
  }

 private:
  template <size_t kRegister, class Step>
  Int CodesOf(const Step& step, Int words, Int magnitudes) const {
    Int signs = L::template ShiftRightWords<16 - Format::kBits>(words);
    if constexpr (kSomeLoseSigns) {
      signs = L::AndWhereGreaterWords(magnitudes, step.template SignThresholds<kRegister>(), signs);
    }
    return L::SelectBits(rank_bits_, step.template RanksOf<kRegister>(magnitudes), signs);
  }

  static Float Transformed(Float x, Float factors, Float reciprocals) {
    if constexpr (!kDivides) return L::Multiply(x, factors);
    const Float y = L::Multiply(x, reciprocals);
    return L::MultiplyAdd(L::NegatedMultiplyAdd(factors, y, x), reciprocals, y);
  }

  // The largest word of a value that is at most `threshold` when it is transformed.
  static Int LargestUpTo(float threshold, Float factors, Float reciprocals) {
    // Below the exact one by more than the roundings and less than a word: the next word may be at most it too.
    constexpr float kSlightlyBelow = 1 - 0x1p-20f;
    const Float near = L::Multiply(kDivides ? factors : reciprocals, L::Splat(threshold * kSlightlyBelow));
    const Int words = Words::LargestUpTo(near);
    const Float next = Transformed(Words::Widen(L::Add(words, L::Splat(1u))), factors, reciprocals);
    return L::Increment(L::AtMost(next, L::Splat(threshold)), words);
  }

  // The largest word that has the code of 0 whatever its sign.
  static Int LargestWithoutSign(Float factors, Float reciprocals) {
    if constexpr (kDivides && kUnsignedZero) {
      return Words::LargestUpTo(LargestOfQuotientZero<L>(factors));
    } else if constexpr (kTransform == Transform::kMultiplyFtz && std::is_same_v<Values, BFloat16Values>) {
      return LargestFlushed(factors, reciprocals);
    } else {
      return L::Splat(0u);
    }
  }

  // Products round to a normal float from kSmallestKept on, which is half a unit below the smallest of these. Scaled,
  // because subnormal results are slow.
  static Int LargestFlushed(Float factors, Float reciprocals) {
    constexpr float kScale = 0x1p64f;
    constexpr float kSmallestKept = (0x1p-126f * kScale) * (1 - 0x1p-24f);
    const Float near = L::Max(L::Multiply(reciprocals, L::Splat(1 - 0x1p-20f)), L::Splat(1.0f));
    const Int words = Words::LargestUpTo(L::Multiply(near, L::Splat(0x1p-126f)));
    const auto is_flushed = [&](Int of) {
      const Float scaled = L::Multiply(Words::Widen(of), L::Splat(kScale));
      return L::Greater(L::NegatedMultiplyAdd(scaled, factors, L::Splat(kSmallestKept)), L::Splat(0.0f));
    };
    const Int next = L::Add(words, L::Splat(1u));
    return L::Increment(is_flushed(next), L::Increment(is_flushed(words), L::Subtract(words, L::Splat(1u))));
  }

  Ranks ranks_;
  Int rank_bits_;
  Int codes_;
  uint64_t first_prepared_ = 0;
  bool usual_ = false;
};

}  // namespace
}  // namespace quantd
