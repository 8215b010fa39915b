#include "kernels/calibrate/square_sums.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "kernels/format/value_types.h"

namespace quantd {
namespace {

constexpr int kDigitBits = 32;
// A term adds less than 2^48 to a word, which is below 2^32 after a carry.
constexpr uint32_t kTermsMax = 65535;

// A square as integer · 2^shift, the lowest bit of the sums being 2^0.
struct Square {
  uint64_t mantissa;  // below 2^48; 0 for what does not count
  uint32_t shift;
};

template <class Values>
inline Square SquareOf(typename Values::Bits bits) {
  // Every 16-bit float is a float32, and its trailing zeros do no harm.
  const uint32_t magnitude = std::bit_cast<uint32_t>(Values::Widen(bits)) & 0x7fffffffu;
  const uint32_t field = magnitude >> 23;
  const uint64_t mantissa = (magnitude & 0x7fffffu) | static_cast<uint32_t>(field != 0) << 23;
  return {field == 0xff ? 0 : mantissa * mantissa, 2 * (field - static_cast<uint32_t>(field != 0))};
}

// Adds it to two words that lie `stride` apart.
inline void AddSquare(uint64_t* words, uint64_t stride, const Square& square) {
  const uint32_t in_digit = square.shift % kDigitBits;
  uint64_t* const word = words + square.shift / kDigitBits * stride;
  // The lower 32 bits by themselves, because all of them would not fit after the shift.
  const uint64_t low = (square.mantissa & 0xffffffffu) << in_digit;
  const uint64_t high = (square.mantissa >> kDigitBits) << in_digit;
  word[0] += low & 0xffffffffu;
  word[stride] += (low >> kDigitBits) + high;
}

}  // namespace

void SquareSums::Resize(uint64_t buckets) {
  buckets_ = buckets;
  words_.assign(buckets * kDigits, 0);
  terms_since_carry_ = 0;
}

void SquareSums::CountTerm() {
  if (++terms_since_carry_ == kTermsMax) Carry();
}

void SquareSums::AddRun(uint64_t bucket, DataType dtype, std::span<const std::byte> values) {
  WithValues(dtype, [&]<class Values>(Values) {
    constexpr size_t kBytes = sizeof(typename Values::Bits);
    SquareSums run;
    run.Resize(1);
    for (size_t i = 0; i < values.size(); i += kBytes) {
      AddSquare(run.words_.data(), 1, SquareOf<Values>(LoadUnaligned<typename Values::Bits>(values.data() + i)));
      run.CountTerm();
    }
    run.Carry();
    for (size_t digit = 0; digit < kDigits; ++digit) words_[digit * buckets_ + bucket] += run.words_[digit];
  });
  CountTerm();
}

void SquareSums::AddRow(uint64_t first_bucket, DataType dtype, std::span<const std::byte> values) {
  WithValues(dtype, [&]<class Values>(Values) {
    constexpr size_t kBytes = sizeof(typename Values::Bits);
    uint64_t* words = &words_[first_bucket];
    for (size_t i = 0; i < values.size(); i += kBytes) {
      AddSquare(words++, buckets_, SquareOf<Values>(LoadUnaligned<typename Values::Bits>(values.data() + i)));
    }
  });
  CountTerm();
}

void SquareSums::Merge(const SquareSums& other) {
  SquareSums carried = other;
  carried.Carry();
  for (size_t i = 0; i < words_.size(); ++i) words_[i] += carried.words_[i];
  CountTerm();
}

void SquareSums::Carry() {
  for (size_t digit = 0; digit + 1 < kDigits; ++digit) {
    for (uint64_t bucket = 0; bucket < buckets_; ++bucket) {
      uint64_t& word = words_[digit * buckets_ + bucket];
      words_[(digit + 1) * buckets_ + bucket] += word >> kDigitBits;
      word &= 0xffffffffu;
    }
  }
  terms_since_carry_ = 0;
}

ExactSum SquareSums::Sum(uint64_t bucket) const {
  ExactSum sum;
  for (size_t digit = 0; digit < kDigits; ++digit) {
    const auto exponent = static_cast<int>(digit) * kDigitBits + kLowestExponent;
    const uint64_t word = words_[digit * buckets_ + bucket];
    // By halves: a double holds 53 bits.
    sum.Add(std::ldexp(static_cast<double>(word & 0xffffffffu), exponent));
    sum.Add(std::ldexp(static_cast<double>(word >> kDigitBits), exponent + kDigitBits));
  }
  return sum;
}

}  // namespace quantd
