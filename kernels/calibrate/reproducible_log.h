// Logarithm and exponential to base 2 of nothing but rounded additions, multiplications and divisions: the C libraries'
// own differ in the last bit, and what is made of these goes to disk.
#pragma once

#include <bit>
#include <cstdint>

namespace quantd {

// Of a positive, finite, normal number; a few units in the last place.
constexpr double ReproducibleLog2(double value) {
  constexpr double kInverseLn2 = 1.4426950408889634;
  constexpr double kSqrt2 = 1.4142135623730951;
  const uint64_t bits = std::bit_cast<uint64_t>(value);
  int exponent = static_cast<int>(bits >> 52) - 1023;
  double mantissa = std::bit_cast<double>((bits & 0xfffffffffffffu) | uint64_t{1023} << 52);
  if (mantissa > kSqrt2) {
    mantissa *= 0.5;
    ++exponent;
  }
  // ln m = 2 artanh t; |t| < 0.172, so that the first term left out is below 2^-58.
  const double t = (mantissa - 1) / (mantissa + 1);
  const double square = t * t;
  double series = 0;
  for (int odd = 21; odd >= 3; odd -= 2) series = (series + 1.0 / odd) * square;
  return exponent + 2 * t * (1 + series) * kInverseLn2;
}

// Of a number in [-1000, 1000]; a few units in the last place.
constexpr double ReproducibleExp2(double value) {
  constexpr double kLn2 = 0.6931471805599453;
  constexpr double kMagic = 0x1.8p52;  // doubles from here on have no fraction
  const double whole = (value + kMagic) - kMagic;
  const double power = (value - whole) * kLn2;  // at most 0.347, so that the first term left out is below 2^-58
  double series = 1;
  for (int term = 14; term >= 1; --term) series = 1 + series * power / term;
  return series * std::bit_cast<double>(static_cast<uint64_t>(static_cast<int64_t>(whole) + 1023) << 52);
}

// base^exponent of a positive base.
constexpr double ReproduciblePower(double base, double exponent) {
  return ReproducibleExp2(exponent * ReproducibleLog2(base));
}

}  // namespace quantd
