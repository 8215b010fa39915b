// A sum of doubles without rounding, so that it does not depend on the order of its terms.
#pragma once

#include <array>
#include <cstdint>

namespace quantd {

// A fixed-point number that covers every finite double, in limbs of 32 bits whose carries are held back. 2^30 terms are
// exact between two carries, which Add does by itself.
class ExactSum {
 public:
  // `value` finite, else the sum is infinite from now on.
  void Add(double value);
  void Merge(const ExactSum& other);
  // Rounded once; the same for equal multisets of terms.
  double Value() const;

  // The sum in sign and magnitude, little-endian digits of 32 bits, the lowest bit of which is 2^kLowestExponent. Equal
  // sums have equal digits. Of finite sums only.
  static constexpr int kLowestExponent = -1074;
  static constexpr int kDigits = 68;  // 2^-1074 to 2^1024, and 2^64 terms
  struct Digits {
    bool negative = false;  // not of 0
    std::array<uint32_t, kDigits> magnitude{};
  };
  Digits ToDigits() const;
  static ExactSum FromDigits(const Digits& digits);

 private:
  static constexpr int kLimbBits = 32;
  static constexpr int kLimbs = kDigits;
  void Carry();
  void Negate();

  std::array<int64_t, kLimbs> limbs_{};
  uint32_t terms_since_carry_ = 0;
  bool infinite_ = false;
};

}  // namespace quantd
