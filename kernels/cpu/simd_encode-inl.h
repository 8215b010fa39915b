// Encoding, four registers at a time. Data that a fast step does not cover (NaN, quotients beyond its range) is left to
// the portable loop, step by step or run by run.
#pragma once

#include "kernels/cpu/portable_kernels-inl.h"
#include "kernels/cpu/simd_codecs-inl.h"
#include "kernels/cpu/simd_runs-inl.h"

namespace quantd {
namespace {

// What the values of one register are transformed with.
template <class L>
struct Factor {
  typename L::Float factor;
  typename L::Float reciprocal;  // of a divisor
  typename L::Float zero;
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

template <class L, Transform kTransform, class Format, class Values>
class Encoder {
  using Float = typename L::Float;
  using Int = typename L::Int;

 public:
  static constexpr size_t kValueBytes = sizeof(typename Values::Bits);
  static constexpr size_t kCacheLineBytes = 64;
  static constexpr bool kChecksFactors = kTransform != Transform::kMultiply || Format::kKind == ElementKind::kMiniFloat;
  static constexpr bool kDivides = kTransform == Transform::kDivide || kTransform == Transform::kDivideAddZero;

  // Quotients that are 0 have no sign where job.unsigned_zero says so; those of divisors up to 0.5 are 0 only if the
  // value is.
  static constexpr bool kMayUnderflow = kDivides && Format::kKind == ElementKind::kMiniFloat;

  explicit Encoder(const EncodeJob& job) : job_(job), codec_(job) {}

  static bool CanEncode(const EncodeJob& job) { return Codec<L, Format>::CanEncode(job); }

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
    if ((kChecksFactors && !(factor >= kSmallestFactor<kTransform> && factor <= kLargestFactor<kTransform>)) ||
        (kMayUnderflow && !(factor <= 0.5f) && MayLoseSign(begin, count))) {
      Portable(run, begin, count);
      return;
    }
    const float zero = kTransform == Transform::kDivideAddZero ? job_.zeros[run] : 0.0f;
    const Factor<L> splat = {L::Splat(factor), L::Splat(kDivides ? 1.0f / factor : 0.0f), L::Splat(zero)};
    const uint64_t end = begin + count / L::kStep * L::kStep;
    for (uint64_t i = begin; i < end; i += L::kStep) {
      if (!Step(job_.values + i * kValueBytes, splat, splat, splat, splat, job_.codes + i * Format::kBits / 8)) {
        Portable(run, i, L::kStep);
      }
    }
    if (count % L::kStep != 0) Tail(run, end, count % L::kStep, splat);
  }

  // A step of runs of kRun elements.
  template <size_t kRun>
  void SharedStep(uint64_t run, uint64_t begin) {
    const auto factors = L::template LoadCompact<kRun>(job_.factors + run);
    auto zeros = factors;
    if constexpr (kTransform == Transform::kDivideAddZero) zeros = L::template LoadCompact<kRun>(job_.zeros + run);
    auto reciprocals = factors;
    if constexpr (kDivides) reciprocals = L::Divide(1.0f, factors);
    if ((kChecksFactors && !L::AllBetween(factors, kSmallestFactor<kTransform>, kLargestFactor<kTransform>)) ||
        (kMayUnderflow && !L::AllBetween(factors, 0.0f, 0.5f) && MayLoseSign(begin, L::kStep)) ||
        !Step(job_.values + begin * kValueBytes, Spread<kRun, 0>(factors, reciprocals, zeros),
              Spread<kRun, 1>(factors, reciprocals, zeros), Spread<kRun, 2>(factors, reciprocals, zeros),
              Spread<kRun, 3>(factors, reciprocals, zeros), job_.codes + begin * Format::kBits / 8)) {
      for (size_t i = 0; i < L::kStep / kRun; ++i) {
        PortableOrZero(run + i, begin + i * kRun, kRun);
      }
    }
  }

  // Any runs, from the first element of one on.
  void Rest(uint64_t run, uint64_t begin, uint64_t count) { Portable(run, begin, count); }

 private:
  template <size_t kRun, size_t kRegister>
  static Factor<L> Spread(typename L::Compact factors, typename L::Compact reciprocals, typename L::Compact zeros) {
    constexpr bool kInterleaved = L::template kInterleaved<Values>;
    return {L::template Spread<kRun, kRegister, kInterleaved>(factors),
            L::template Spread<kRun, kRegister, kInterleaved>(reciprocals),
            L::template Spread<kRun, kRegister, kInterleaved>(zeros)};
  }

  // The quotient by one correction of x · (1 / s), which is x / s rounded once, but for quotients that are too small
  // for any code but 0 (below 2^-22: the remainder of a value below 2^-102 may have too few bits) and infinite ones,
  // which become NaN. tests/kernels/cpu/division_test.cc has the proof.
  static Float Transformed(Float x, const Factor<L>& f) {
    Float y = L::Multiply(x, kDivides ? f.reciprocal : f.factor);
    if constexpr (kDivides) y = L::MultiplyAdd(L::NegatedMultiplyAdd(f.factor, y, x), f.reciprocal, y);
    if constexpr (kTransform == Transform::kDivideAddZero) y = L::Add(y, f.zero);
    return y;
  }

  // False, and nothing written, if the codec does not cover the values.
  [[gnu::always_inline]] bool Step(const std::byte* values, const Factor<L>& f0, const Factor<L>& f1,
                                   const Factor<L>& f2, const Factor<L>& f3, std::byte* codes) const {
    constexpr bool kInterleaved = L::template kInterleaved<Values>;
    for (size_t line = 0; line < L::kStep * kValueBytes; line += kCacheLineBytes) {
      _mm_prefetch(reinterpret_cast<const char*>(values) + job_.next_distance + line, _MM_HINT_T0);
    }
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
      if constexpr (Format::kKind == ElementKind::kMiniFloat) {
        bytes = L::Or(bytes, kDivides ? codec_.Signs(x0, x1, x2, x3) : codec_.Signs(y0, y1, y2, y3));
      }
      StoreCodes<L, Format>(codes, L::template InOrder<kInterleaved>(bytes));
    }
    return true;
  }

  // Fewer elements than a step: the step on a copy, zeros behind them.
  void Tail(uint64_t run, uint64_t begin, uint64_t count, const Factor<L>& splat) {
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
    std::memcpy(job_.codes + begin * Format::kBits / 8, codes, (bits + 7) / 8);
  }

  // Whether a value may be so small that its quotient is 0.
  bool MayLoseSign(uint64_t begin, uint64_t count) const {
    if (!job_.unsigned_zero || std::is_same_v<Values, Float16Values>) return false;
    constexpr uint32_t kSmallestSafe = std::bit_cast<uint32_t>(0x1p-149f * kLargestFactor<kTransform>);
    bool may = false;
    for (uint64_t i = begin; i < begin + count; ++i) {
      const uint32_t magnitude = std::bit_cast<uint32_t>(LoadValue<Values>(job_.values, i)) & 0x7fffffffu;
      may |= magnitude - 1 < kSmallestSafe - 1;
    }
    return may;
  }

  // Whether nothing is left of the values when subnormals are flushed.
  bool IsZero(uint64_t begin, uint64_t count) const {
    for (uint64_t i = begin; i < begin + count; ++i) {
      const float value = LoadValue<Values>(job_.values, i);
      if ((std::bit_cast<uint32_t>(value) & 0x7f800000u) != 0) return false;
    }
    return true;
  }

  void PortableOrZero(uint64_t run, uint64_t begin, uint64_t count) {
    if constexpr (kTransform == Transform::kMultiplyFtz) {
      if (job_.factors[run] == std::numeric_limits<float>::infinity()) {
        OneRun(run, begin, count);
        return;
      }
    }
    Portable(run, begin, count);
  }

  [[gnu::noinline]] void Portable(uint64_t run, uint64_t begin, uint64_t count) const {
    EncodeJob part = job_;
    part.values += begin * kValueBytes;
    part.codes += begin * Format::kBits / 8;
    part.element_count = count;
    part.factors += run;
    if (kTransform == Transform::kDivideAddZero) part.zeros += run;
    PortableEncodeOf<kTransform, Format, Values>(part);
  }

  const EncodeJob& job_;
  Codec<L, Format> codec_;
};

template <class L, Transform kTransform, class Format, class Values>
void SimdEncode(const EncodeJob& job) {
  using Kernel = Encoder<L, kTransform, Format, Values>;
  if (job.run_elements < L::kLanes || !Kernel::CanEncode(job)) {
    PortableEncodeOf<kTransform, Format, Values>(job);
    return;
  }
  Kernel kernel(job);
  WalkRuns<L>(kernel, job.element_count, job.run_elements);
}

}  // namespace
}  // namespace quantd
