#include "kernels/base/exact_sum.h"

#include <bit>
#include <cmath>
#include <limits>

namespace quantd {
namespace {

constexpr uint32_t kTermsMax = 1u << 30;
__extension__ using Wide = unsigned __int128;

}  // namespace

void ExactSum::Add(double value) {
  if (!std::isfinite(value)) {
    infinite_ = true;
    return;
  }
  const uint64_t bits = std::bit_cast<uint64_t>(value);
  const uint64_t exponent = bits >> 52 & 0x7ff;
  const uint64_t significand = (bits & 0xfffffffffffffu) | (exponent != 0 ? uint64_t{1} << 52 : 0);
  const uint64_t shift = exponent != 0 ? exponent - 1 : 0;  // of the significand's last bit, from 2^-1074
  const auto wide = static_cast<Wide>(significand) << shift % kLimbBits;
  const int64_t sign = (bits >> 63) != 0 ? -1 : 1;
  for (uint64_t i = 0; i < 3; ++i) {
    limbs_[shift / kLimbBits + i] +=
        sign * static_cast<int64_t>(static_cast<uint64_t>(wide >> (i * kLimbBits)) & 0xffffffffu);
  }
  if (++terms_since_carry_ == kTermsMax) Carry();
}

void ExactSum::Merge(const ExactSum& other) {
  ExactSum carried = other;
  carried.Carry();
  Carry();
  for (int i = 0; i < kLimbs; ++i) limbs_[i] += carried.limbs_[i];
  Carry();
  infinite_ = infinite_ || other.infinite_;
}

void ExactSum::Carry() {
  int64_t carry = 0;
  for (int i = 0; i + 1 < kLimbs; ++i) {
    const int64_t limb = limbs_[i] + carry;
    carry = limb >> kLimbBits;  // towards minus infinity, so that what stays is not negative
    limbs_[i] = limb & 0xffffffff;
  }
  limbs_[kLimbs - 1] += carry;
  terms_since_carry_ = 0;
}

void ExactSum::Negate() {
  for (int64_t& limb : limbs_) limb = -limb;
  Carry();
}

ExactSum::Digits ExactSum::ToDigits() const {
  ExactSum magnitude = *this;
  magnitude.Carry();
  Digits digits{.negative = magnitude.limbs_.back() < 0};
  if (digits.negative) magnitude.Negate();
  for (int i = 0; i < kLimbs; ++i) digits.magnitude[i] = static_cast<uint32_t>(magnitude.limbs_[i]);
  return digits;
}

ExactSum ExactSum::FromDigits(const Digits& digits) {
  ExactSum sum;
  for (int i = 0; i < kLimbs; ++i) sum.limbs_[i] = digits.magnitude[i];
  if (digits.negative) sum.Negate();
  return sum;
}

double ExactSum::Value() const {
  if (infinite_) return std::numeric_limits<double>::infinity();
  ExactSum magnitude = *this;
  magnitude.Carry();
  // Now all limbs but the highest are digits, and that one has the sign.
  const bool negative = magnitude.limbs_.back() < 0;
  if (negative) magnitude.Negate();
  int highest = kLimbs - 1;
  while (highest > 0 && magnitude.limbs_[highest] == 0) --highest;
  // Three limbs have at least 65 bits, of which a double keeps 53: of all that lies below them only whether it is 0
  // counts, and the lowest of the 65 can tell.
  Wide top = 0;
  for (int i = highest; i > highest - 3; --i) {
    top = top << kLimbBits | static_cast<uint64_t>(i < 0 ? 0 : magnitude.limbs_[i]);
  }
  for (int i = highest - 3; i >= 0; --i) top |= static_cast<Wide>(magnitude.limbs_[i] != 0);
  const double value = std::ldexp(static_cast<double>(top), (highest - 2) * kLimbBits - 1074);
  return negative ? -value : value;
}

}  // namespace quantd
