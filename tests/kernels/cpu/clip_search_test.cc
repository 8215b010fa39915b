// range=mse: what a smaller range is good for. Its bytes are the conformance suite's affair.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/kernel_table.h"
#include "tests/support/tensor_runner.h"

namespace quantd {
namespace {

using testing::Bytes;
using testing::BytesOf;
using testing::PlanOrDie;
using testing::RunTensor;

constexpr uint64_t kColumns = 256;

std::vector<float> Normal(uint64_t seed, uint64_t count) {
  std::mt19937_64 random = testing::MakeRandom(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// Of the decoded values: of each column the sum of squared errors.
std::vector<double> ColumnErrors(const SchemeRequest& request, const std::vector<float>& values,
                                 const std::vector<float>& importance = {}) {
  const auto backend = MakeCpuBackend();
  const std::vector<uint64_t> shape = {values.size() / kColumns, kColumns};
  const ChannelArrays arrays{.importance = !importance.empty()};
  const Plan plan = PlanOrDie(request, Direction::kQuantize, DataType::kFloat32, shape, {}, arrays);
  const auto segments =
      RunTensor(*backend, plan, {{"values", BytesOf(values)}, {"importance", BytesOf(importance)}}).outputs;
  const Plan back = PlanOrDie(request, Direction::kDequantize, DataType::kFloat32, shape);
  const auto decoded = testing::ValuesOf<float>(RunTensor(*backend, back, segments).outputs.at("values"));
  std::vector<double> errors(kColumns);
  for (size_t i = 0; i < values.size(); ++i) errors[i % kColumns] += std::pow(double{values[i]} - decoded[i], 2);
  return errors;
}

double Sum(const std::vector<double>& errors, const std::vector<float>& weights = {}) {
  double sum = 0;
  for (size_t i = 0; i < errors.size(); ++i) sum += errors[i] * (weights.empty() ? 1.0 : weights[i]);
  return sum;
}

TEST(ClipSearch, LeavesLessErrorThanTheWholeRange) {
  const std::vector<float> values = Normal(1, 64 * kColumns);
  for (const char* const preset : {"int4", "int4-asym"}) {
    for (const char* const grouping : {"channel", "group", "block", "tile"}) {
      const double whole = Sum(ColumnErrors({preset, {{"grouping", grouping}}, 0}, values));
      const double searched = Sum(ColumnErrors({preset, {{"grouping", grouping}, {"range", "mse"}}, 0}, values));
      EXPECT_LT(searched, 0.95 * whole) << preset << " " << grouping;
    }
  }
}

TEST(ClipSearch, AnImportantColumnGainsAtTheOthersExpense) {
  std::vector<float> values = Normal(2, 64 * kColumns);
  for (size_t row = 0; row < 64; ++row) values[row * kColumns] *= 8;  // column 0 alone needs the whole range
  std::vector<float> importance(kColumns, 1.0f);
  importance[0] = 1000;
  const SchemeRequest searched{"int4", {{"grouping", "channel"}, {"range", "mse"}}, 0};
  const auto plain = ColumnErrors(searched, values);
  const auto weighted = ColumnErrors(searched, values, importance);
  EXPECT_LT(weighted[0], plain[0]);
  EXPECT_GT(Sum(weighted), Sum(plain));
  EXPECT_LT(Sum(weighted, importance), Sum(plain, importance));
}

TEST(ClipSearch, AnImportanceOfNothingButZerosLeavesTheRange) {
  const std::vector<float> values = Normal(3, 16 * kColumns);
  const SchemeRequest searched{"int4", {{"range", "mse"}}, 0};
  EXPECT_EQ(ColumnErrors(searched, values, std::vector<float>(kColumns, 0.0f)), ColumnErrors({"int4", {}, 0}, values));
}

TEST(ClipSearch, RunsOfExtremeScalesKeepTheirRange) {
  std::vector<float> values = Normal(4, kColumns);
  for (float& value : values) value = std::ldexp(value, 118);
  EXPECT_EQ(ColumnErrors({"int4", {{"range", "mse"}}, 0}, values), ColumnErrors({"int4", {}, 0}, values));
}

}  // namespace
}  // namespace quantd
