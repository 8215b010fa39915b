// Smoothing factors and importance through the client and a server: sent, or named in a calibration session.
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "client/cpp/client.h"
#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "kernels/calibrate/smooth.h"
#include "tests/support/tensor_runner.h"
#include "tests/support/test_service.h"

namespace quantd::testing {
namespace {

using Segments = std::map<std::string, std::vector<std::byte>>;

constexpr uint64_t kColumns = 512;
const SchemeRequest kInt8{"int8", {}};
const SchemeRequest kSearched{"int4", {{"range", "mse"}}};

class ChannelArraysTest : public ::testing::Test {
 protected:
  ChannelArraysTest() : client_(*Client::OverChannel(service_.TcpChannel())) {
    Calibrate("input", activations_);
    Calibrate("q", q_);
    Calibrate("k", k_);
    EXPECT_TRUE(client_->SealCalibration("s").ok());
  }

  static std::vector<float> Random(uint64_t seed, uint64_t rows) {
    auto random = MakeRandom(seed);
    std::normal_distribution<float> normal;
    std::vector<float> values(rows * kColumns);
    for (size_t i = 0; i < values.size(); ++i) values[i] = normal(random) * (i % kColumns % 50 == 0 ? 30.f : 1.f);
    return values;
  }
  static TensorView View(const std::string& name, const std::vector<float>& values) {
    return {name, DataType::kFloat32, {values.size() / kColumns, kColumns}, std::as_bytes(std::span(values))};
  }

  void Calibrate(const std::string& name, const std::vector<float>& values) {
    const CalibrationContribution contribution{"s", {{"grouping", "channel"}, {"collect", "importance"}}, "only", 0};
    const auto summary = client_->Calibrate(View(name, values), contribution);
    ASSERT_TRUE(summary.ok()) << summary.status();
  }

  Segments Quantized(const std::vector<float>& values, const SchemeRequest& scheme, const CallOptions& options) {
    const auto result = client_->Quantize(View("q", values), scheme, options);
    EXPECT_TRUE(result.ok()) << result.status();
    Segments segments;
    if (!result.ok()) return segments;
    for (const Segment& segment : result->segments) segments[segment.name] = segment.bytes;
    return segments;
  }
  std::string ReasonOf(const SchemeRequest& scheme, const CallOptions& options) {
    return DetailsOf(client_->Quantize(View("q", q_), scheme, options).status()).reason;
  }

  std::vector<float> AbsmaxOf(const std::vector<float>& values) const {
    return ColumnAbsmax(DataType::kFloat32, std::as_bytes(std::span(values)), kColumns);
  }
  std::vector<float> FactorsOfBoth() const {
    std::vector<float> weights = AbsmaxOf(q_);
    const std::vector<float> other = AbsmaxOf(k_);
    for (size_t i = 0; i < weights.size(); ++i) weights[i] = std::max(weights[i], other[i]);
    return *SmoothingFactors(AbsmaxOf(activations_), weights);
  }

  TestService service_;
  const std::unique_ptr<Client> client_;
  const std::vector<float> activations_ = Random(1, 40);
  const std::vector<float> q_ = Random(2, 64);
  const std::vector<float> k_ = Random(3, 32);
};

TEST_F(ChannelArraysTest, SentFactorsMakeTheBytesOfASmoothedWeight) {
  const std::vector<float> factors = FactorsOfBoth();
  std::vector<float> smoothed = q_;
  ASSERT_TRUE(MultiplyColumns(DataType::kFloat32, std::as_writable_bytes(std::span(smoothed)), factors).ok());
  EXPECT_EQ(Quantized(q_, kInt8, {.smoothing_factors = factors}), Quantized(smoothed, kInt8, {}));
}

TEST_F(ChannelArraysTest, ASessionsFactorsAreThoseOfSmoothQuant) {
  const std::vector<float> factors = FactorsOfBoth();
  const SmoothingReference reference{.session_id = "s", .activations = "input", .weights = {"q", "k"}};
  EXPECT_EQ(Quantized(q_, kInt8, {.calibrated_smoothing = reference}),
            Quantized(q_, kInt8, {.smoothing_factors = factors}));
}

TEST_F(ChannelArraysTest, ASessionsImportanceIsTheMeanOfSquares) {
  const auto results = client_->GetCalibration("s", {.tensors = {"input"}, .importance = true});
  ASSERT_TRUE(results.ok()) << results.status();
  const std::vector<double>& squares = results->tensors.at(0).importance;
  const std::vector<float> importance(squares.begin(), squares.end());
  const ImportanceReference reference{.session_id = "s", .activations = "input"};
  const Segments by_session = Quantized(q_, kSearched, {.calibrated_importance = reference});
  EXPECT_EQ(by_session, Quantized(q_, kSearched, {.importance = importance}));
  EXPECT_NE(by_session, Quantized(q_, kSearched, {}));
}

TEST_F(ChannelArraysTest, ASplitTensorIsTheSame) {
  const std::vector<float> factors = FactorsOfBoth();
  const auto split = *Client::Create(
      {.address = service_.tcp_address(), .connections_max = 3, .part_bytes_min = 16 * kColumns * sizeof(float)});
  const auto result = split->Quantize(View("q", q_), kSearched, {.smoothing_factors = factors});
  ASSERT_TRUE(result.ok()) << result.status();
  Segments segments;
  for (const Segment& segment : result->segments) segments[segment.name] = segment.bytes;
  EXPECT_EQ(segments, Quantized(q_, kSearched, {.smoothing_factors = factors}));
}

TEST_F(ChannelArraysTest, WhatDoesNotFitIsRefusedWithItsReason) {
  const SmoothingReference smoothing{.session_id = "s", .activations = "input"};
  const auto with = [&](auto change) {
    SmoothingReference changed = smoothing;
    change(changed);
    return CallOptions{.calibrated_smoothing = changed};
  };
  EXPECT_EQ(ReasonOf(kInt8, with([](auto& s) { s.activations = "nothing"; })), reason::kUnknownTensor);
  EXPECT_EQ(ReasonOf(kInt8, with([](auto& s) { s.session_id = "other"; })), reason::kUnknownCalibration);
  EXPECT_EQ(ReasonOf(kInt8, with([](auto& s) { s.alpha = 2; })), reason::kInvalidSmoothing);
  EXPECT_EQ(ReasonOf(kInt8, {.calibrated_importance = ImportanceReference{.session_id = "s"}}),
            reason::kUnusedStatistic);
  const std::vector<float> short_by_one(kColumns - 1, 1.0f);
  EXPECT_EQ(ReasonOf(kInt8, {.smoothing_factors = short_by_one}), reason::kSegmentOrder);
  const CallOptions both{.smoothing_factors = short_by_one, .calibrated_smoothing = smoothing};
  EXPECT_EQ(client_->Quantize(View("q", q_), kInt8, both).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(ChannelArraysTest, StatisticsOfAnotherShapeAreMissing) {
  const std::vector<float> narrow(8 * 16, 1.0f);
  const TensorView view{"q", DataType::kFloat32, {8, 16}, std::as_bytes(std::span(narrow))};
  const CallOptions options{.calibrated_smoothing = SmoothingReference{.session_id = "s", .activations = "input"}};
  EXPECT_EQ(DetailsOf(client_->Quantize(view, kInt8, options).status()).reason, reason::kStatisticsMissing);
}

}  // namespace
}  // namespace quantd::testing
