// The division of kernels/cpu/simd_encode-inl.h: a product with the rounded reciprocal and one correction, against IEEE
// division.
//
// All pairs of significands are covered. Let s and x be in [1, 2), r = RN(1/s), q = RN(x·r), e = RN(x - s·q), and
// Q = x/s, all in units of Q's last place. s·r is less than 2^-24 off 1, so q is less than 2 off Q, and RN(e·r) would
// be Q - q but for 2^-23 from the reciprocal and 2^-23 from e, which has at most 25 bits. So q + e·r is less than 2^-22
// off Q, and can only be rounded otherwise than Q if Q is that near to the middle of two floats. With 24-bit integers S
// and X for s and x, and an odd N for twice the middle, that is |X·2^c - S·N| <= 8 where c is 24 for X >= S, else 25:
// for each S a few N, which are found by inverting S modulo a power of two.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <random>

namespace quantd {
namespace {

float Corrected(float x, float s) {
  const float r = 1.0f / s;
  const float q = x * r;
  return std::fma(std::fma(-s, q, x), r, q);
}

// In [1, 2).
float FloatOf(uint64_t significand) { return static_cast<float>(significand) * 0x1p-23f; }

uint64_t InverseModulo2To64(uint64_t odd) {
  uint64_t inverse = odd;
  for (int i = 0; i < 5; ++i) inverse *= 2 - odd * inverse;
  return inverse;
}

// Calls `check(X, S)` for all X whose quotient is near the middle of two floats.
template <class Check>
void ForEachSensitiveDividend(uint64_t divisor, const Check& check) {
  const int twos = std::countr_zero(divisor);
  const uint64_t odd = divisor >> twos;
  const uint64_t inverse = InverseModulo2To64(odd);
  for (int64_t distance = -8; distance <= 8; ++distance) {
    // X · 2^c - S · N has the factors 2 of S, and no more.
    if (distance == 0 || std::countr_zero(static_cast<uint64_t>(distance)) != twos) continue;
    for (const int c : {24, 25}) {
      const uint64_t modulus = uint64_t{1} << (c - twos);
      const uint64_t remainder = (0 - static_cast<uint64_t>(distance >> twos)) * inverse & (modulus - 1);
      for (uint64_t n = remainder; n < uint64_t{1} << 25; n += modulus) {
        if (n < uint64_t{1} << 24) continue;
        const uint64_t dividend = (divisor * n + static_cast<uint64_t>(distance)) >> c;
        if (dividend < 1 << 23 || dividend >= 1 << 24 || (dividend >= divisor) != (c == 24)) continue;
        check(dividend, divisor);
      }
    }
  }
}

TEST(Division, EverySensitivePairOfSignificandsGivesTheRoundedQuotient) {
  uint64_t pairs = 0;
  uint64_t differences = 0;
  for (uint64_t divisor = 1 << 23; divisor < 1 << 24; ++divisor) {
    ForEachSensitiveDividend(divisor, [&](uint64_t dividend, uint64_t s) {
      ++pairs;
      differences += Corrected(FloatOf(dividend), FloatOf(s)) != FloatOf(dividend) / FloatOf(s) ? 1 : 0;
    });
  }
  EXPECT_EQ(differences, 0u);
  EXPECT_GT(pairs, 30'000'000u);
}

// Whether the enumeration above misses none: of a few divisors, all dividends.
TEST(Division, SensitivePairsAreAllThatAreNearAMiddle) {
  std::mt19937_64 random(1);
  for (int repetition = 0; repetition < 6; ++repetition) {
    const uint64_t divisor = (uint64_t{1} << 23) + (random() % (1 << 23) >> repetition << repetition);
    uint64_t expected = 0;
    for (uint64_t dividend = 1 << 23; dividend < 1 << 24; ++dividend) {
      const int c = dividend >= divisor ? 24 : 25;
      // The distance to the nearest odd multiple of the divisor.
      const auto rest = static_cast<int64_t>((dividend << c) % (2 * divisor)) - static_cast<int64_t>(divisor);
      expected += rest >= -8 && rest <= 8 ? 1 : 0;
    }
    uint64_t found = 0;
    ForEachSensitiveDividend(divisor, [&](uint64_t, uint64_t) { ++found; });
    EXPECT_EQ(found, expected) << divisor;
  }
}

// The exponents that the encoder uses it for: quotients below 2^-22 may be off, but stay as small, and keep code 0.
TEST(Division, AnyExponentsGiveTheRoundedQuotientOrATinyOne) {
  std::mt19937_64 random(2);
  for (int i = 0; i < 5'000'000; ++i) {
    const float s = std::ldexp(FloatOf((1 << 23) + random() % (1 << 23)), static_cast<int>(random() % 180) - 80);
    const float x = std::bit_cast<float>(static_cast<uint32_t>(random()));
    if (!std::isfinite(x)) continue;
    const float expected = x / s;
    const float actual = Corrected(x, s);
    if (actual == expected) continue;
    if (std::isinf(expected) || std::fabs(expected) >= 0x1p126f) {
      ASSERT_TRUE(std::isnan(actual) || std::isinf(actual)) << std::hexfloat << x << " / " << s;
    } else {
      ASSERT_LT(std::fabs(expected), 0x1p-22f) << std::hexfloat << x << " / " << s;
      ASSERT_LT(std::fabs(actual), 0x1p-22f) << std::hexfloat << x << " / " << s;
    }
  }
}

}  // namespace
}  // namespace quantd
