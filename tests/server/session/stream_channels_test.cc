// Arrays over the channels of the last axis: smoothing factors and importance, as segments beside the values.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "tests/support/session_harness.h"

namespace quantd::server {
namespace {

using testing::Bytes;
using testing::BytesOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::Request;
using testing::SegmentBytes;
using testing::SessionServer;
using testing::TensorInput;
using testing::TensorOutput;
using testing::TestStream;

constexpr uint64_t kRows = 300;
constexpr uint64_t kColumns = 384;

class StreamChannels : public ::testing::Test {
 protected:
  // float32 [kRows, kColumns], multiplied by factors, its range searched with an importance.
  static TensorRequest Weighted(const std::string& preset = "int4") {
    TensorRequest request = Request(DataType::kFloat32, {kRows, kColumns}, preset, {{"range", "mse"}});
    request.smoothing.emplace();
    request.importance.emplace();
    return request;
  }
  static TensorRequest Smoothed(const std::string& preset) {
    TensorRequest request = Request(DataType::kFloat32, {kRows, kColumns}, preset);
    request.smoothing.emplace();
    return request;
  }

  TensorInput Input(const TensorRequest& request) const {
    TensorInput input{request, {{"smoothing_factors", 0, BytesOf(factors_)}}};
    if (request.importance.has_value()) input.parts.push_back({"importance", 0, BytesOf(importance_)});
    const TensorInput values = testing::QuantizeInput(request, values_);
    input.parts.insert(input.parts.end(), values.parts.begin(), values.parts.end());
    return input;
  }

  SegmentBytes ExpectedOf(const TensorRequest& request) const {
    return testing::Expected(
        Direction::kQuantize, request,
        {{"values", values_}, {"smoothing_factors", BytesOf(factors_)}, {"importance", BytesOf(importance_)}});
  }

  static TensorOutput Run(const std::vector<RequestFrame>& frames) {
    SessionServer server({.limits = testing::SmallLimits()});
    TestStream stream(server);
    stream.Send(frames);
    stream.RunAll();
    return stream.Output(1);
  }
  TensorOutput Run(const TensorRequest& request) const { return Run(testing::Frames(1, Input(request), 100'000)); }

  std::string ReasonOf(const TensorRequest& request) const { return DetailsOf(Run(request).error).reason; }

  static std::vector<float> Random(uint64_t seed, uint64_t count, float center) {
    std::mt19937_64 random = testing::MakeRandom(seed);
    std::vector<float> values(count);
    for (float& value : values) value = center + static_cast<float>(random() % 1000) / 1000;
    return values;
  }

  Bytes values_ = BytesOf(Random(1, kRows* kColumns, -0.5f));
  std::vector<float> factors_ = Random(2, kColumns, 0.25f);
  std::vector<float> importance_ = Random(3, kColumns, 0);
};

TEST_F(StreamChannels, TheAcceptNamesThemBeforeTheValues) {
  const TensorOutput output = Run(Weighted());
  ASSERT_TRUE(output.accept.has_value()) << output.error;
  const auto& inputs = output.accept->inputs;
  ASSERT_EQ(inputs.size(), 3u);
  EXPECT_EQ(inputs[0].layout.name, "smoothing_factors");
  EXPECT_EQ(inputs[1].layout.name, "importance");
  EXPECT_EQ(inputs[2].layout.name, "values");
  EXPECT_EQ(inputs[0].layout.dtype, DataType::kFloat32);
  EXPECT_THAT(inputs[0].layout.shape, ElementsAre(kColumns));
  EXPECT_EQ(inputs[0].layout.unit_bytes, 0u);
}

TEST_F(StreamChannels, AnyCutOfTheStreamMakesTheBytesOfOneRun) {
  std::mt19937_64 random = testing::MakeRandom(4);
  for (const TensorRequest& request : {Weighted(), Weighted("int8-asym"), Smoothed("bnb-nf4")}) {
    const SegmentBytes expected = ExpectedOf(request);
    for (int i = 0; i < 10; ++i) {
      const TensorOutput output = Run(testing::RandomFrames(random, 1, Input(request), 60'000));
      ASSERT_TRUE(output.summary.has_value()) << output.error;
      EXPECT_EQ(output.segments, expected);
    }
  }
}

TEST_F(StreamChannels, AStatisticOfTheWholeTensorIsThatOfTheProducts) {
  TensorRequest request = Smoothed("int8");
  request.scheme.overrides["grouping"] = "tensor";
  const TensorOutput output = Run(request);
  ASSERT_TRUE(output.summary.has_value()) << output.error;
  EXPECT_EQ(output.segments, ExpectedOf(request));
  const auto values = testing::ValuesOf<float>(values_);
  float amax = 0;
  for (size_t i = 0; i < values.size(); ++i) amax = std::max(amax, std::fabs(values[i] * factors_[i % kColumns]));
  EXPECT_EQ(output.summary->amax, amax);
}

TEST_F(StreamChannels, ARangeOfTheTensorTakesAllFactors) {
  TensorRequest request = Smoothed("int8");
  request.range = {100 * kColumns, 200 * kColumns};
  const TensorOutput output = Run(request);
  ASSERT_TRUE(output.summary.has_value()) << output.error;
  const Bytes whole = ExpectedOf(Smoothed("int8")).at("codes");
  const auto at = [&](uint64_t row) { return whole.begin() + static_cast<ptrdiff_t>(row * kColumns); };
  EXPECT_EQ(output.segments.at("codes"), Bytes(at(100), at(200)));
}

TEST_F(StreamChannels, AFactorMustBeFiniteAndPositive) {
  for (const float bad : {0.0f, -1.0f, std::nanf(""), std::numeric_limits<float>::infinity()}) {
    factors_[17] = bad;
    const TensorOutput output = Run(Smoothed("int8"));
    EXPECT_EQ(DetailsOf(output.error).reason, reason::kInvalidStatistic) << bad;
    EXPECT_EQ(DetailsOf(output.error).metadata.back().second, "17");
  }
}

TEST_F(StreamChannels, AnImportanceMustNotBeNegativeNorHuge) {
  for (const float bad : {-0.5f, std::nanf(""), 0x1p65f}) {
    importance_[3] = bad;
    EXPECT_EQ(ReasonOf(Weighted()), reason::kInvalidStatistic) << bad;
  }
}

TEST_F(StreamChannels, TheirNumberIsThatOfTheColumns) {
  factors_.pop_back();
  EXPECT_EQ(ReasonOf(Smoothed("int8")), reason::kSegmentOrder);  // the values came before the last factor
  factors_.resize(kColumns + 1, 1.0f);
  EXPECT_EQ(ReasonOf(Smoothed("int8")), reason::kSegmentTooLong);
}

TEST_F(StreamChannels, ImportanceIsRefusedWhereNothingIsSearched) {
  TensorRequest request = Weighted();
  request.scheme.overrides.clear();
  EXPECT_EQ(DetailsOf(Run({testing::HeaderFrame(1, request, {}, true)}).error).reason, reason::kUnusedStatistic);
}

TEST_F(StreamChannels, AProductThatIsInfiniteIsNamedAsSuch) {
  factors_[5] = 0x1p127f;
  auto values = testing::ValuesOf<float>(values_);
  values[2 * kColumns + 5] = 4;
  values_ = BytesOf(values);
  const TensorOutput output = Run(Smoothed("int8"));
  EXPECT_EQ(DetailsOf(output.error).reason, reason::kNonfiniteInput);
  EXPECT_THAT(std::string(output.error.message()), HasSubstr("element 773, times its smoothing factor,"));
}

}  // namespace
}  // namespace quantd::server
