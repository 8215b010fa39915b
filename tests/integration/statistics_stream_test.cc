// Statistics of the whole tensor over a real stream: found by the server, found by the client, and error metrics.
#include <gtest/gtest.h>

#include <map>

#include "client/cpp/client.h"
#include "client/cpp/local_range.h"
#include "tests/support/tensor_runner.h"
#include "tests/support/test_service.h"

namespace quantd::testing {
namespace {

constexpr uint64_t kRows = 6000;
constexpr uint64_t kColumns = 1024;

class StatisticsStream : public ::testing::Test {
 protected:
  StatisticsStream() {
    auto random = MakeRandom(1);
    std::uniform_real_distribution<float> uniform(-3.0f, 2.0f);
    values_.resize(kRows * kColumns);
    for (float& value : values_) value = uniform(random);
    auto client = Client::OverChannel(service_.TcpChannel());
    EXPECT_TRUE(client.ok()) << client.status();
    client_ = *std::move(client);
  }

  TensorView View() const { return {"w", DataType::kFloat32, {kRows, kColumns}, std::as_bytes(std::span(values_))}; }

  QuantizedTensor Quantized(const SchemeRequest& scheme, const CallOptions& options = {}) {
    auto quantized = client_->Quantize(View(), scheme, options);
    EXPECT_TRUE(quantized.ok()) << quantized.status();
    return quantized.ok() ? *std::move(quantized) : QuantizedTensor{};
  }

  static std::map<std::string, Bytes> BytesOfSegments(const QuantizedTensor& tensor) {
    std::map<std::string, Bytes> segments;
    for (const Segment& segment : tensor.segments) segments[segment.name] = segment.bytes;
    return segments;
  }

  TestService service_;
  std::vector<float> values_;
  std::unique_ptr<Client> client_;
};

TEST_F(StatisticsStream, ATensorOfSeveralWindowsWithOneScaleIsTheSameInOnePassAndInTwo) {
  ASSERT_GT(View().values.size(), 2 * server::Limits().window_bytes);
  const SchemeRequest scheme{"int8", {{"grouping", "tensor"}}};
  uint64_t last_consumed = 0;
  const QuantizedTensor in_two_passes =
      Quantized(scheme, {.progress = [&](uint64_t consumed, uint64_t) { last_consumed = consumed; }});
  EXPECT_EQ(last_consumed, View().values.size());
  const auto range = LocalRange(View().values, DataType::kFloat32);
  ASSERT_TRUE(range.has_value());
  EXPECT_EQ(in_two_passes.summary.amax, range->amax);
  EXPECT_EQ(in_two_passes.summary.lowest, std::nullopt) << "a symmetric scheme does not look for it";
  const QuantizedTensor in_one_pass = Quantized(scheme, {.statistics = {.amax = range->amax}});
  EXPECT_EQ(BytesOfSegments(in_one_pass), BytesOfSegments(in_two_passes));
}

TEST_F(StatisticsStream, TheServerFindsTheRangeThatTheClientFinds) {
  const QuantizedTensor quantized = Quantized({"int4-asym", {{"grouping", "tensor"}}});
  const auto range = LocalRange(View().values, DataType::kFloat32);
  ASSERT_TRUE(range.has_value());
  EXPECT_EQ(quantized.summary.lowest, range->lowest);
  EXPECT_EQ(quantized.summary.highest, range->highest);
}

TEST_F(StatisticsStream, ErrorMetricsAreThoseOfTheDecodedValues) {
  for (const SchemeRequest& scheme :
       {SchemeRequest{"int8-asym", {{"grouping", "tensor"}}}, {"bnb-nf4"}, {"ct-w4a16-asym"}}) {
    SCOPED_TRACE(scheme.preset);
    const QuantizedTensor quantized = Quantized(scheme, {.error_metrics = true});
    ASSERT_TRUE(quantized.summary.errors.has_value());
    const auto back = client_->Dequantize(quantized.View(), DataType::kFloat32);
    ASSERT_TRUE(back.ok()) << back.status();
    const std::vector<float> decoded = ValuesOf<float>(back->values);
    double sum = 0, largest = 0;
    for (size_t i = 0; i < values_.size(); ++i) {
      const double error = static_cast<double>(values_[i]) - static_cast<double>(decoded[i]);
      sum += error * error;
      largest = std::max(largest, std::abs(error));
    }
    EXPECT_EQ(quantized.summary.errors->count, values_.size());
    EXPECT_NEAR(quantized.summary.errors->mean_squared_error, sum / values_.size(), 1e-9 * sum / values_.size());
    EXPECT_EQ(quantized.summary.errors->max_error, largest);
    EXPECT_EQ(BytesOfSegments(quantized), BytesOfSegments(Quantized(scheme)));
  }
}

TEST_F(StatisticsStream, EverySchemeThatIsListedRoundTripsWithItsDefaults) {
  const auto schemes = client_->ListSchemes();
  ASSERT_TRUE(schemes.ok()) << schemes.status();
  EXPECT_GT(schemes->size(), 30u);
  for (const SchemeDescription& scheme : *schemes) {
    SCOPED_TRACE(scheme.scheme.preset);
    EXPECT_FALSE(scheme.error_bound.empty());
    EXPECT_FALSE(scheme.segments.empty());
    const TensorView small{"w", DataType::kFloat32, {16, kColumns}, View().values.first(16 * kColumns * 4)};
    const auto quantized = client_->Quantize(small, scheme.scheme);
    ASSERT_TRUE(quantized.ok()) << quantized.status();
    EXPECT_EQ(quantized->segments.size(), scheme.segments.size());
    const auto back = client_->Dequantize(quantized->View(), DataType::kBFloat16);
    EXPECT_TRUE(back.ok()) << back.status();
  }
}

}  // namespace
}  // namespace quantd::testing
