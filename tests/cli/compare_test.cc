#include "client/cli/compare.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace quantd::cli {
namespace {

using server::SafetensorsDtypeNamed;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

template <typename A, typename B>
ErrorStatistics Compare(const char* a_dtype, const std::vector<A>& a, const char* b_dtype, const std::vector<B>& b) {
  return CompareValues(*SafetensorsDtypeNamed(a_dtype), std::as_bytes(std::span(a)), *SafetensorsDtypeNamed(b_dtype),
                       std::as_bytes(std::span(b)), [](uint64_t) { return true; });
}

ErrorStatistics CompareFloats(const std::vector<float>& a, const std::vector<float>& b) {
  return Compare("F32", a, "F32", b);
}

TEST(CompareValues, MatchesHandComputedNumbers) {
  // Errors 0, 1, -2: Σe² = 5, Σa² = 1 + 4 + 4 = 9, Σb² = 1 + 1 + 16 = 18, Σab = 1 + 2 + 8 = 11.
  const ErrorStatistics statistics = CompareFloats({1, 2, 2}, {1, 1, 4});
  EXPECT_EQ(statistics.elements, 3u);
  EXPECT_EQ(statistics.differing, 2u);
  EXPECT_DOUBLE_EQ(statistics.MeanSquaredError(), 5.0 / 3);
  EXPECT_EQ(statistics.max_abs_error, 2);
  EXPECT_DOUBLE_EQ(statistics.SnrDb(), 10 * std::log10(9.0 / 5));
  EXPECT_DOUBLE_EQ(statistics.Cosine(), 11 / std::sqrt(9.0 * 18));
}

TEST(CompareValues, OfEqualArraysHasNoError) {
  const ErrorStatistics statistics = CompareFloats({1, -2}, {1, -2});
  EXPECT_EQ(statistics.differing, 0u);
  EXPECT_EQ(statistics.MeanSquaredError(), 0);
  EXPECT_EQ(statistics.SnrDb(), kInfinity);
  EXPECT_DOUBLE_EQ(statistics.Cosine(), 1);
}

TEST(CompareValues, OfZerosAndOfNothingIsDefined) {
  EXPECT_EQ(CompareFloats({0}, {0}).Cosine(), 1);
  EXPECT_EQ(CompareFloats({0}, {1}).Cosine(), 0);
  EXPECT_EQ(CompareFloats({0}, {1}).SnrDb(), -kInfinity);
  EXPECT_EQ(CompareFloats({}, {}).MeanSquaredError(), 0);
}

TEST(CompareValues, LeavesNonfinitePairsOutAndCountsThem) {
  const ErrorStatistics statistics =
      CompareFloats({kNan, kInfinity, kInfinity, 1, 3}, {kNan, kInfinity, -kInfinity, kNan, 1});
  EXPECT_EQ(statistics.nonfinite, 4u);
  EXPECT_EQ(statistics.nonfinite_differing, 2u);
  EXPECT_EQ(statistics.differing, 3u);
  EXPECT_EQ(statistics.MeanSquaredError(), 4);
}

TEST(CompareValues, WidensEveryFloatTypeExactly) {
  const std::vector<float> f32{1.5f, -2.0f};
  EXPECT_EQ(Compare("F32", f32, "F64", std::vector<double>{1.5, -2}).differing, 0u);
  EXPECT_EQ(Compare("F32", f32, "F16", std::vector<uint16_t>{0x3e00, 0xc000}).differing, 0u);
  EXPECT_EQ(Compare("F32", f32, "BF16", std::vector<uint16_t>{0x3fc0, 0xc000}).differing, 0u);
  EXPECT_EQ(Compare("F32", f32, "F8_E4M3", std::vector<uint8_t>{0x3c, 0xc0}).differing, 0u);
  EXPECT_EQ(Compare("F32", f32, "F8_E5M2", std::vector<uint8_t>{0x3e, 0xc0}).differing, 0u);
}

TEST(CompareValues, TakesIntegersAsNumbers) {
  EXPECT_EQ(Compare("I8", std::vector<int8_t>{-128}, "I8", std::vector<int8_t>{127}).max_abs_error, 255);
  EXPECT_EQ(Compare("U32", std::vector<uint32_t>{UINT32_MAX}, "U32", std::vector<uint32_t>{0}).max_abs_error,
            UINT32_MAX);
  EXPECT_EQ(Compare("I32", std::vector<int32_t>{INT32_MIN}, "I32", std::vector<int32_t>{INT32_MAX}).max_abs_error,
            UINT32_MAX);
}

TEST(CompareValues, SumsOverRunBoundaries) {
  const uint64_t count = 2 * kCompareElements + 3;
  std::vector<float> a(count, 1), b(count, 1);
  for (const uint64_t i : {uint64_t{0}, kCompareElements - 1, kCompareElements, count - 1}) b[i] = 3;
  const ErrorStatistics statistics = CompareFloats(a, b);
  EXPECT_EQ(statistics.elements, count);
  EXPECT_EQ(statistics.differing, 4u);
  EXPECT_EQ(statistics.sum_squared_error, 16);
}

TEST(CompareValues, StopsWhenItIsTold) {
  const std::vector<float> a(3 * kCompareElements, 1);
  const ErrorStatistics statistics =
      CompareValues(*SafetensorsDtypeNamed("F32"), std::as_bytes(std::span(a)), *SafetensorsDtypeNamed("F32"),
                    std::as_bytes(std::span(a)), [](uint64_t elements) { return elements == 0; });
  EXPECT_EQ(statistics.elements, kCompareElements);
}

TEST(CanCompareValues, MixesFloatsButNotIntegers) {
  const auto can = [](const char* a, const char* b) {
    return CanCompareValues(*SafetensorsDtypeNamed(a), *SafetensorsDtypeNamed(b));
  };
  EXPECT_TRUE(can("F32", "BF16"));
  EXPECT_TRUE(can("F64", "F16"));
  EXPECT_TRUE(can("U8", "U8"));
  EXPECT_FALSE(can("U8", "I8"));
  EXPECT_FALSE(can("F32", "I32"));
  EXPECT_FALSE(can("I64", "I64"));
  EXPECT_TRUE(can("F8_E4M3", "BF16"));
  EXPECT_FALSE(can("F8_E8M0", "F8_E8M0"));
}

}  // namespace
}  // namespace quantd::cli
