// What encoders of 16-bit words have in common: a step's words come in two registers, and whatever is unusual is left
// to the encoder of floats.
#pragma once

#include "kernels/cpu/simd_encode-inl.h"

namespace quantd {
namespace {

template <class L, Transform kTransform, class Format, class Values, bool kUnsignedZero>
class WordLoop {
  using Int = typename L::Int;
  static constexpr size_t kValueBytes = 2;
  static constexpr size_t kCacheLineBytes = 64;

 public:
  static constexpr bool kPreparesLongRuns = true;

  void OneRun(uint64_t run, uint64_t begin, uint64_t count) { floats_.OneRun(run, begin, count); }

  // Whatever PreparedStep returned false for.
  template <size_t kRun>
  [[gnu::noinline]] void SlowStep(uint64_t run, uint64_t begin) {
    floats_.Prepare(run, L::kStep / std::min(kRun, L::kStep));
    floats_.template SlowStep<kRun>(run, begin);
  }

 protected:
  struct Words {
    Int low;
    Int high;
    Int low_magnitudes;
    Int high_magnitudes;
  };

  explicit WordLoop(const EncodeJob& job) : job_(job), floats_(job) {}

  // The words of the step at `begin`, and the next strip's lines brought near.
  [[gnu::always_inline]] Words Load(uint64_t begin) const {
    const std::byte* const values = job_.values + begin * kValueBytes;
    for (size_t line = 0; line < L::kStep * kValueBytes; line += kCacheLineBytes) {
      _mm_prefetch(reinterpret_cast<const char*>(values) + job_.next_distance + line, _MM_HINT_T1);
    }
    const Int low = L::LoadInts(values);
    const Int high = L::LoadInts(values + L::kStep);
    return {low, high, L::And(low, L::SplatWords(0x7fff)), L::And(high, L::SplatWords(0x7fff))};
  }

  [[gnu::always_inline]] static bool AnyAbove(const Words& words, uint16_t magnitude) {
    return L::AnyGreaterWords(L::MaxWords(words.low_magnitudes, words.high_magnitudes), L::SplatWords(magnitude));
  }

  // Bytes as PackUnsignedBytes makes them.
  [[gnu::always_inline]] void Store(uint64_t begin, Int bytes) const {
    StoreCodes<L, Format>(job_.codes + begin * Format::kBits / 8, L::InOrderOfWords(bytes));
  }

  const EncodeJob& job_;

 private:
  Encoder<L, kTransform, Format, Values, kUnsignedZero> floats_;
};

}  // namespace
}  // namespace quantd
