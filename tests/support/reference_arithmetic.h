// One rounding for each operation, by way of double: 53 bits are enough that the second rounding of one product,
// quotient or sum of two floats changes nothing.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace quantd::testing {

inline constexpr float kInfinity = std::numeric_limits<float>::infinity();

inline float Product(float a, float b) { return static_cast<float>(static_cast<double>(a) * static_cast<double>(b)); }
inline float Quotient(float a, float b) { return static_cast<float>(static_cast<double>(a) / static_cast<double>(b)); }
inline float Sum(float a, float b) { return static_cast<float>(static_cast<double>(a) + static_cast<double>(b)); }
inline float Difference(float a, float b) { return Sum(a, -b); }

inline float Flushed(float value) {
  return std::fpclassify(value) == FP_SUBNORMAL ? std::copysign(0.0f, value) : value;
}
inline float FlushedProduct(float a, float b) { return Flushed(Product(Flushed(a), Flushed(b))); }

// 2^exponent, from the smallest subnormal to infinity.
inline float PowerOfTwo(int exponent) { return static_cast<float>(std::ldexp(1.0, exponent)); }

// The integer nearest to a value that is not a NaN, of two the even one.
inline double NearestInteger(double value) {
  const double below = std::floor(value);
  const double above_by = value - below;
  if (above_by != 0.5) return above_by < 0.5 ? below : below + 1;
  return std::fmod(below, 2.0) == 0 ? below : below + 1;
}

// What a GPU computes where IEEE has some NaN.
inline float CanonicalNan(float value) { return std::isnan(value) ? std::bit_cast<float>(0x7fffffffu) : value; }

}  // namespace quantd::testing
