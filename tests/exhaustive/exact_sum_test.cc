// ExactSum beside sums in integers that are wide enough for their terms, and beside sums without rounding by pairs.
#include "kernels/base/exact_sum.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace quantd::testing {
namespace {

__extension__ using Wide = __int128;
__extension__ using Magnitude = unsigned __int128;

double SumOf(const std::vector<double>& terms) {
  ExactSum sum;
  for (const double term : terms) sum.Add(term);
  return sum.Value();
}

// `value` · 2^exponent rounded once, to nearest, ties to even. The result must be normal.
double Rounded(Wide value, int exponent) {
  const bool negative = value < 0;
  auto magnitude = static_cast<Magnitude>(negative ? -value : value);
  bool sticky = false;
  for (; magnitude >> 54 != 0; magnitude >>= 1, ++exponent) sticky = sticky || (magnitude & 1) != 0;
  auto significand = static_cast<uint64_t>(magnitude);  // 54 bits: one more than a double has
  if (significand >> 53 != 0) {
    const bool up = (significand & 1) != 0 && (sticky || (significand & 2) != 0);
    significand = (significand >> 1) + (up ? 1 : 0);
    ++exponent;
  }
  const double result = std::ldexp(static_cast<double>(significand), exponent);
  return negative ? -result : result;
}

// Terms with significands of 53 bits, their last bits at places `lowest` to `lowest` + 60.
struct Terms {
  std::vector<double> values;
  double expected;
};
Terms RandomTerms(std::mt19937_64& random, int count, int lowest, bool signs) {
  Terms terms;
  Wide sum = 0;
  for (int i = 0; i < count; ++i) {
    // Short significands too: they make sums on and next to a rounding boundary.
    const uint64_t significand = random() >> (11 + random() % 53);
    const auto place = static_cast<int>(random() % 60);
    const bool negative = signs && random() % 2 == 0;
    const Wide term = static_cast<Wide>(significand) << place;
    sum += negative ? -term : term;
    const double value = std::ldexp(static_cast<double>(significand), lowest + place);
    terms.values.push_back(negative ? -value : value);
  }
  terms.expected = Rounded(sum, lowest);
  return terms;
}

// Every alignment of the terms to the sum's limbs.
constexpr int kLowestPlaces[] = {-1021, -1020, -900, -500, -101, -100, -65, -64, -63, -60, -53, -33, -32, -31,
                                 -1,    0,     1,    17,   31,   32,   33,  63,  64,  100, 500, 800, 840};

TEST(ExactSum, OfPositiveTermsIsRoundedOnce) {
  std::mt19937_64 random(1);
  for (const int lowest : kLowestPlaces) {
    for (int i = 0; i < 2000; ++i) {
      const Terms terms = RandomTerms(random, 1 + static_cast<int>(random() % 8), lowest, false);
      ASSERT_EQ(SumOf(terms.values), terms.expected) << std::hexfloat << ::testing::PrintToString(terms.values);
    }
  }
}

TEST(ExactSum, OfTermsOfBothSignsIsRoundedOnce) {
  std::mt19937_64 random(2);
  for (const int lowest : kLowestPlaces) {
    for (int i = 0; i < 2000; ++i) {
      const Terms terms = RandomTerms(random, 1 + static_cast<int>(random() % 8), lowest, true);
      ASSERT_EQ(SumOf(terms.values), terms.expected) << std::hexfloat << ::testing::PrintToString(terms.values);
    }
  }
}

TEST(ExactSum, RoundsUpWhatLiesAnyBitAboveATie) {
  for (const int lowest : kLowestPlaces) {
    for (int below = 1; below < 150 && lowest - below > -1074; ++below) {
      const double one = std::ldexp(1.0, lowest);
      const std::vector<double> terms = {one * 0x1p53, one, std::ldexp(one, -below)};
      ASSERT_EQ(SumOf(terms), one * (0x1p53 + 2)) << "2^" << lowest << ", " << below;
      ASSERT_EQ(SumOf({one * 0x1p53, one}), one * 0x1p53);
    }
  }
}

TEST(ExactSum, KeepsTheSmallestTermBesideTheLargest) {
  constexpr double kLargest = std::numeric_limits<double>::max();
  constexpr double kSmallest = std::numeric_limits<double>::denorm_min();
  EXPECT_EQ(SumOf({kLargest, kSmallest, -kLargest}), kSmallest);
  EXPECT_EQ(SumOf({kSmallest, kSmallest, kSmallest}), 3 * kSmallest);
  EXPECT_EQ(SumOf({-kSmallest}), -kSmallest);
  EXPECT_EQ(SumOf({kLargest, kLargest, -kLargest}), kLargest);
  EXPECT_EQ(SumOf({-kLargest}), -kLargest);
}

TEST(ExactSum, IsInfiniteBeyondTheLargestDoubleAndAfterAnInfiniteTerm) {
  constexpr double kLargest = std::numeric_limits<double>::max();
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(SumOf({kLargest, kLargest}), kInfinity);
  EXPECT_EQ(SumOf({-kLargest, -kLargest}), -kInfinity);
  EXPECT_EQ(SumOf({1, kInfinity, 2}), kInfinity);
  EXPECT_EQ(SumOf({std::numeric_limits<double>::quiet_NaN()}), kInfinity);
}

TEST(ExactSum, OfNothingIs0) {
  EXPECT_EQ(ExactSum().Value(), 0);
  EXPECT_EQ(SumOf({1, -1}), 0);
}

// Squares of errors as the kernels sum them up: of all magnitudes.
std::vector<double> AnyTerms(std::mt19937_64& random, size_t count) {
  std::vector<double> terms;
  while (terms.size() < count) {
    const auto term = std::bit_cast<double>(static_cast<uint64_t>(random()));
    if (std::isfinite(term)) terms.push_back(term / 1024);  // so that no sum overflows
  }
  return terms;
}

TEST(ExactSum, DoesNotDependOnTheOrderOfItsTerms) {
  std::mt19937_64 random(3);
  std::vector<double> terms = AnyTerms(random, 1000);
  const double expected = SumOf(terms);
  for (int i = 0; i < 100; ++i) {
    std::ranges::shuffle(terms, random);
    ASSERT_EQ(SumOf(terms), expected);
  }
}

TEST(ExactSum, OfPartsMergedInAnyWayIsThatOfTheWhole) {
  std::mt19937_64 random(4);
  const std::vector<double> terms = AnyTerms(random, 1000);
  const double expected = SumOf(terms);
  for (int i = 0; i < 100; ++i) {
    std::vector<ExactSum> parts(1 + random() % 20);
    for (const double term : terms) parts[random() % parts.size()].Add(term);
    while (parts.size() > 1) {
      const size_t other = random() % (parts.size() - 1);
      parts[other].Merge(parts.back());
      parts.pop_back();
    }
    ASSERT_EQ(parts[0].Value(), expected);
  }
}

TEST(ExactSum, MergedWithAnInfiniteOneIsInfinite) {
  ExactSum infinite;
  infinite.Add(std::numeric_limits<double>::infinity());
  ExactSum sum;
  sum.Add(1);
  sum.Merge(infinite);
  EXPECT_EQ(sum.Value(), std::numeric_limits<double>::infinity());
}

}  // namespace
}  // namespace quantd::testing
