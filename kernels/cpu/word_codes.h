// Small floats' codes from the upper 16 bits of a float, for values of no more than that: bfloat16, scaled by a power
// of two. Everything is exact, so no code is left open.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace quantd {

// "Words" are those upper halves, of magnitudes; "steps" count them from the largest that has the code 0 on, which is
// half the smallest level, and are 0 below.
template <class Format>
struct WordSteps {
  static constexpr uint32_t WordOf(float magnitude) { return std::bit_cast<uint32_t>(magnitude) >> 16; }
  static constexpr uint32_t kFirstWord = WordOf(Format::DecodeMagnitude(1) / 2);
  static constexpr uint32_t kLargestStep = WordOf(Format::kLargest) - kFirstWord;
};

inline constexpr int kStepsPerExponentBits = 7;

// Of up to four bits: exponents in quarters, each with at most one code's first step. A step plus the entry of its
// quarter is the code, times the size of a quarter, and something below that.
inline constexpr int kQuarterBits = kStepsPerExponentBits - 2;

// The first step with a code of at least `code`; a tie has the even one.
template <class Format>
consteval uint32_t FirstStepOf(uint32_t code) {
  const float tie = (Format::DecodeMagnitude(code - 1) + Format::DecodeMagnitude(code)) / 2;
  return WordSteps<Format>::WordOf(tie) - WordSteps<Format>::kFirstWord + (code % 2 == 0 ? 0 : 1);
}

template <class Format>
consteval std::array<uint16_t, Format::kLargestCode> MakeFirstSteps() {
  std::array<uint16_t, Format::kLargestCode> steps{};
  [&]<size_t... kIndex>(std::index_sequence<kIndex...>) {
    ((steps[kIndex] = static_cast<uint16_t>(FirstStepOf<Format>(kIndex + 1))), ...);
  }(std::make_index_sequence<Format::kLargestCode>());
  return steps;
}

template <class Format>
consteval std::array<uint16_t, 32> MakeQuarterEntries() {
  constexpr uint32_t kQuarter = 1u << kQuarterBits;
  if (WordSteps<Format>::kLargestStep >= 32 * kQuarter) throw "more quarters than entries";
  std::array<uint16_t, 32> entries{};
  for (uint32_t quarter = 0; quarter < 32; ++quarter) {
    const uint32_t begin = quarter * kQuarter;
    uint32_t code = 0;
    uint32_t first = begin;  // the step that becomes the first of its code
    for (const uint32_t step : MakeFirstSteps<Format>()) {
      if (step >= begin + kQuarter) break;
      if (step >= begin && first != begin) throw "a quarter has two codes' first steps";
      ++code;
      if (step >= begin) first = step;
    }
    entries[quarter] = static_cast<uint16_t>(code * kQuarter - first);
  }
  return entries;
}

// Of eight bits: by the exponent of a step, how far its mantissa is shifted to have the unit of the code, and what is
// added before so that it has its leading bit, the code of its exponent, and is rounded.
struct ExponentEntries {
  std::array<uint16_t, 32> shift{};
  std::array<uint16_t, 32> addend{};
};

template <class Format>
consteval ExponentEntries MakeExponentEntries() {
  constexpr uint32_t kLeadingBit = 1u << kStepsPerExponentBits;
  constexpr uint32_t kNormalShift = kStepsPerExponentBits - Format::kMantissaBits;
  constexpr uint32_t kFirstNormal = Format::kMantissaBits + 1;  // as many exponents lie between half a unit and it
  ExponentEntries entries;
  for (uint32_t exponent = 0; exponent < 32; ++exponent) {
    const uint32_t subnormal = exponent < kFirstNormal ? exponent : kFirstNormal;
    const uint32_t shift = kNormalShift + kFirstNormal - subnormal;
    entries.shift[exponent] = static_cast<uint16_t>(shift);
    entries.addend[exponent] = static_cast<uint16_t>(kLeadingBit - subnormal * kLeadingBit + (1u << (shift - 1)) - 1);
  }
  return entries;
}

}  // namespace quantd
