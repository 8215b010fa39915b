#include "client/cpp/local_range.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/base/float16.h"

namespace quantd {
namespace {

std::optional<ValueRange> RangeOf(const std::vector<float>& values, DataType dtype) {
  std::vector<std::byte> bytes(1);  // so that nothing is aligned
  for (const float value : values) {
    const uint32_t bits = dtype == DataType::kFloat32   ? std::bit_cast<uint32_t>(value)
                          : dtype == DataType::kFloat16 ? Float32ToFloat16(value)
                                                        : Float32ToBFloat16(value);
    const auto* const source = reinterpret_cast<const std::byte*>(&bits);
    bytes.insert(bytes.end(), source, source + SizeBytes(dtype));
  }
  return LocalRange(std::span(bytes).subspan(1), dtype);
}

class LocalRangeTest : public ::testing::TestWithParam<DataType> {};

TEST_P(LocalRangeTest, HasLeastLargestAndTheLargestMagnitude) {
  const auto range = RangeOf({0.5f, -3.0f, 2.0f, 0.0f}, GetParam());
  ASSERT_TRUE(range.has_value());
  EXPECT_EQ(range->lowest, -3.0f);
  EXPECT_EQ(range->highest, 2.0f);
  EXPECT_EQ(range->amax, 3.0f);
}

TEST_P(LocalRangeTest, IncludesZero) {
  EXPECT_EQ(RangeOf({2.0f, 3.0f}, GetParam())->lowest, 0.0f);
  EXPECT_EQ(RangeOf({-2.0f, -3.0f}, GetParam())->highest, 0.0f);
  EXPECT_EQ(RangeOf({}, GetParam())->amax, 0.0f);
}

TEST_P(LocalRangeTest, LeavesNonfiniteValuesToTheServer) {
  for (const float value : {NAN, -INFINITY, INFINITY}) {
    EXPECT_EQ(RangeOf({1.0f, value, 2.0f}, GetParam()), std::nullopt);
  }
}

INSTANTIATE_TEST_SUITE_P(, LocalRangeTest,
                         ::testing::Values(DataType::kFloat32, DataType::kFloat16, DataType::kBFloat16),
                         [](const auto& info) { return std::string(InfoOf(info.param).name); });

TEST(LocalRange, OfPartsIsThatOfAll) {
  const ValueRange all = Union({3, -1, 3}, {4, -4, 2});
  EXPECT_EQ(all.amax, 4.0f);
  EXPECT_EQ(all.lowest, -4.0f);
  EXPECT_EQ(all.highest, 3.0f);
}

Plan PlanOf(const std::string& preset, const std::map<std::string, std::string>& overrides,
            const KnownStatistics& known = {}) {
  const auto scheme = ResolveScheme({preset, overrides});
  EXPECT_TRUE(scheme.ok()) << scheme.status();
  const std::vector<uint64_t> shape = {4, 256};
  auto plan = MakePlan(*scheme, Direction::kQuantize, DataType::kFloat32, shape, known);
  EXPECT_TRUE(plan.ok()) << plan.status();
  return *std::move(plan);
}

TEST(StatisticsFor, GivesWhatTheSchemeLacksAndMakesItOnePass) {
  const ValueRange range{6, -6, 5};
  struct Case {
    std::string preset;
    std::map<std::string, std::string> overrides;
  };
  for (const Case& one : {Case{"int8", {{"grouping", "tensor"}}}, Case{"int4-asym", {{"grouping", "tensor"}}},
                          Case{"fp8-e4m3", {}}, Case{"ct-fp8", {}}, Case{"ct-nvfp4", {}}}) {
    const Plan plan = PlanOf(one.preset, one.overrides);
    EXPECT_TRUE(SpoolsValues(plan)) << one.preset;
    const KnownStatistics known = StatisticsFor(plan, range);
    EXPECT_FALSE(PlanOf(one.preset, one.overrides, known).NeedsSpool()) << one.preset;
  }
}

TEST(StatisticsFor, LeavesOtherSchemesAlone) {
  const Plan nested = PlanOf("bnb-nf4", {{"double_quant", "true"}});
  EXPECT_FALSE(SpoolsValues(nested));
  EXPECT_EQ(StatisticsFor(nested, {6, -6, 5}).amax, std::nullopt);
  EXPECT_FALSE(SpoolsValues(PlanOf("int8", {})));
}

}  // namespace
}  // namespace quantd
