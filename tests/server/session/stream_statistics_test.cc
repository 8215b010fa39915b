// Schemes with statistics of the whole tensor: known, found in a first pass that keeps the values, sent to Dequantize.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "tests/support/session_harness.h"

namespace quantd::server {
namespace {

using testing::Bytes;
using testing::Expected;
using testing::Frames;
using ::testing::HasSubstr;
using testing::QuantizeInput;
using testing::Request;
using testing::SessionServer;
using testing::SessionServerOptions;
using testing::TensorOutput;
using testing::TestStream;

SessionServerOptions Options() { return {.limits = testing::SmallLimits(), .spool_memory_bytes_max = 0}; }

TensorRequest PerTensor(const std::string& preset, const std::vector<uint64_t>& shape) {
  return Request(DataType::kFloat32, shape, preset, {{"grouping", "tensor"}});
}

TensorOutput Quantized(SessionServer& server, const TensorRequest& request, const Bytes& values,
                       uint64_t frame_bytes = 1 << 20) {
  TestStream stream(server);
  stream.Send(Frames(1, QuantizeInput(request, values), frame_bytes));
  stream.RunAll();
  return stream.Output(1);
}

struct PerTensorScheme {
  std::string name, preset;
  std::map<std::string, std::string> overrides;
  std::vector<std::string> segments;  // in the order of their results
};

class StreamStatistics : public ::testing::TestWithParam<PerTensorScheme> {
 protected:
  TensorRequest RequestOf(const std::vector<uint64_t>& shape) const {
    return Request(DataType::kFloat32, shape, GetParam().preset, GetParam().overrides);
  }
};

TEST_P(StreamStatistics, SeveralBatchesInBothPassesEqualOneRunOverTheWholeTensor) {
  std::mt19937_64 random = testing::MakeRandom(1);
  const TensorRequest request = RequestOf({1000, 1024});
  const Bytes values = testing::RandomValues(random, request);
  const auto expected = Expected(Direction::kQuantize, request, {{"values", values}});
  for (const uint64_t frame_bytes : {100'000u, 1u << 20}) {
    SessionServer server(Options());
    const TensorOutput output = Quantized(server, request, values, frame_bytes);
    ASSERT_TRUE(output.summary.has_value()) << output.error;
    EXPECT_EQ(output.segments, expected);
    EXPECT_EQ(output.segment_order, GetParam().segments);
    EXPECT_EQ(output.consumed_bytes, values.size());
  }
}

TEST_P(StreamStatistics, ATensorOfManyWindowsPassesWithAClientThatKeepsToItsCredit) {
  std::mt19937_64 random = testing::MakeRandom(2);
  const TensorRequest request = RequestOf({5000, 1024});
  const Bytes values = testing::RandomValues(random, request);
  SessionServer server(Options());
  TestStream stream(server);
  stream.Send(testing::HeaderFrame(1, request));
  stream.RunAll();
  const uint64_t window_bytes = stream.io.frames.at(0).window_bytes;
  ASSERT_LT(window_bytes * 4, values.size());
  for (uint64_t sent = 0; sent < values.size();) {
    const uint64_t credit = stream.io.frames.back().consumed_bytes + window_bytes - sent;
    ASSERT_GT(credit, 0u) << "stuck after " << sent << " bytes";
    const uint64_t end = sent + std::min<uint64_t>({credit, values.size() - sent, 1 << 20});
    const auto at = [&](uint64_t offset) { return values.begin() + static_cast<ptrdiff_t>(offset); };
    stream.Send(testing::MakeFrame(1, {{"values", sent, Bytes(at(sent), at(end))}}, end == values.size()));
    stream.RunAll();
    sent = end;
  }
  EXPECT_TRUE(stream.Output(1).summary.has_value()) << stream.Output(1).error;
}

TEST_P(StreamStatistics, TheValuesAreReservedAtTheHeaderAndReleasedAtTheEnd) {
  SessionServer server(Options());
  TestStream stream(server);
  const TensorRequest request = RequestOf({64, 1024});
  auto frames = Frames(1, QuantizeInput(request, Bytes(64 * 1024 * 4)), 200'000);
  stream.Send(frames[0]);
  stream.RunAll();
  EXPECT_EQ(server.spool_budget.bytes_reserved(), 64u * 1024 * 4);
  stream.Send(frames[1]);
  stream.RunAll();
  EXPECT_TRUE(stream.Output(1).summary.has_value()) << stream.Output(1).error;
  EXPECT_EQ(server.spool_budget.bytes_reserved(), 0u);
}

TEST_P(StreamStatistics, ARefusedSpoolNamesTheStatisticThatHelps) {
  SessionServerOptions options = Options();
  options.limits.spool_bytes_per_stream_max = 1000;
  SessionServer server(options);
  TestStream stream(server);
  const TensorRequest request = RequestOf({64, 1024});
  stream.Send(testing::HeaderFrame(1, request));
  stream.RunAll();
  const absl::Status error = stream.Output(1).error;
  EXPECT_EQ(DetailsOf(error).reason, reason::kSpoolBudget);
  EXPECT_THAT(std::string(error.message()), HasSubstr("Send statistics."));
}

TEST_P(StreamStatistics, ASmallTensorIsStillOneMessageEachWay) {
  std::mt19937_64 random = testing::MakeRandom(3);
  const TensorRequest request = RequestOf({3, 256});
  const Bytes values = testing::RandomValues(random, request);
  SessionServer server;
  TestStream stream(server);
  stream.Send(Frames(1, QuantizeInput(request, values), 1 << 20));
  stream.RunAll();
  EXPECT_EQ(stream.io.frames.size(), 1u);
  EXPECT_EQ(stream.Output(1).segments, Expected(Direction::kQuantize, request, {{"values", values}}));
}

TEST_P(StreamStatistics, ErrorMetricsAreTheSameHoweverTheTensorIsCut) {
  std::mt19937_64 random = testing::MakeRandom(4);
  TensorRequest request = RequestOf({1000, 512});
  request.error_metrics = true;
  const Bytes values = testing::RandomValues(random, request);
  std::optional<ErrorMetrics> first;
  for (const uint64_t frame_bytes : {70'001u, 1u << 20}) {
    SessionServer server(Options());
    const TensorOutput output = Quantized(server, request, values, frame_bytes);
    ASSERT_TRUE(output.summary.has_value() && output.summary->errors.has_value()) << output.error;
    const ErrorMetrics& errors = *output.summary->errors;
    EXPECT_EQ(errors.count, 1000u * 512);
    EXPECT_GT(errors.max_error, 0);
    EXPECT_GT(errors.snr_db, 10);
    if (!first.has_value()) first = errors;
    EXPECT_EQ(errors.mean_squared_error, first->mean_squared_error);
    EXPECT_EQ(errors.max_error, first->max_error);
    EXPECT_EQ(errors.snr_db, first->snr_db);
    EXPECT_EQ(output.segments, Expected(Direction::kQuantize, request, {{"values", values}}));
  }
}

TEST_P(StreamStatistics, NonfiniteValuesAreCountedOnce) {
  const TensorRequest plain = RequestOf({2, 256});
  TensorRequest request = plain;
  std::vector<float> values(512, 0.5f);
  values[7] = NAN;
  values[300] = INFINITY;
  SessionServer server;
  const TensorOutput refused = Quantized(server, request, testing::BytesOf(values));
  EXPECT_EQ(DetailsOf(refused.error).reason, reason::kNonfiniteInput);
  EXPECT_THAT(std::string(refused.error.message()), HasSubstr("element 7 "));
  if (GetParam().preset.starts_with("ct-")) return;  // these take no other policy
  request.scheme.overrides["nonfinite"] = "saturate";
  const TensorOutput saturated = Quantized(server, request, testing::BytesOf(values));
  ASSERT_TRUE(saturated.summary.has_value()) << saturated.error;
  EXPECT_EQ(saturated.summary->nonfinite_count, 2u);
}

TEST_P(StreamStatistics, DequantizeTakesAllWholeTensorSegmentsInAnyOrderAndFirst) {
  std::mt19937_64 random = testing::MakeRandom(5);
  const TensorRequest request = RequestOf({600, 1024});
  const Bytes values = testing::RandomValues(random, request);
  auto segments = Expected(Direction::kQuantize, request, {{"values", values}});
  SessionServer server({.direction = Direction::kDequantize, .limits = testing::SmallLimits()});
  TestStream stream(server);
  stream.Send(testing::HeaderFrame(1, request));
  stream.RunAll();
  const AcceptInfo accept = stream.io.frames.at(0).accept.value();
  size_t whole = 0;
  while (accept.inputs.at(whole).layout.whole_tensor()) ++whole;
  for (size_t i = whole; i < accept.inputs.size(); ++i) EXPECT_FALSE(accept.inputs[i].layout.whole_tensor());
  testing::TensorInput input = testing::DequantizeInput(request, segments, accept.batch_elements);
  std::reverse(input.parts.begin(), input.parts.begin() + static_cast<ptrdiff_t>(whole));
  auto frames = Frames(1, input, 300'000);
  frames.front().header.reset();
  stream.Send(std::move(frames));
  stream.RunAll();
  ASSERT_TRUE(stream.Output(1).summary.has_value()) << stream.Output(1).error;
  EXPECT_EQ(stream.Output(1).segments, Expected(Direction::kDequantize, request, segments));
}

INSTANTIATE_TEST_SUITE_P(
    , StreamStatistics,
    ::testing::Values(PerTensorScheme{"Int8", "int8", {{"grouping", "tensor"}}, {"codes", "scales"}},
                      PerTensorScheme{
                          "Int4Asymmetric", "int4-asym", {{"grouping", "tensor"}}, {"codes", "scales", "zero_points"}},
                      PerTensorScheme{"Fp8", "fp8-e4m3", {}, {"codes", "scales"}},
                      PerTensorScheme{"CompressedTensorsFp8", "ct-fp8", {}, {"codes", "scales"}},
                      PerTensorScheme{"Nvfp4", "ct-nvfp4", {}, {"codes", "scales", "global_scale"}}),
    [](const auto& info) { return info.param.name; });

// ---- Known from the start ----

TEST(StreamKnownStatistics, OnePassMakesTheSameBytesAsTwo) {
  std::mt19937_64 random = testing::MakeRandom(6);
  TensorRequest request = PerTensor("int8", {700, 1000});
  const Bytes values = testing::RandomValues(random, request);
  const auto found = Expected(Direction::kQuantize, request, {{"values", values}});
  SessionServer server(Options());
  const TensorOutput first = Quantized(server, request, values);
  request.known.amax = first.summary.value().amax;
  TestStream stream(server);
  stream.Send(testing::HeaderFrame(1, request));
  stream.RunAll();
  EXPECT_EQ(server.spool_budget.bytes_reserved(), 0u);
  EXPECT_EQ(Quantized(server, request, values).segments, found);
}

TEST(StreamKnownStatistics, TheSummaryNamesLeastAndLargestValue) {
  TensorRequest request = PerTensor("int8-asym", {4});
  request.known.min = -4.0f;
  request.known.max = 4.0f;
  SessionServer server;
  const TensorOutput output = Quantized(server, request, testing::BytesOf<float>({1, -2, 3, 0}));
  ASSERT_TRUE(output.summary.has_value()) << output.error;
  EXPECT_EQ(output.summary->lowest, -2.0f);
  EXPECT_EQ(output.summary->highest, 3.0f);
  EXPECT_EQ(output.summary->amax, 3.0f);
  EXPECT_EQ(output.summary->errors, std::nullopt) << "nobody asked for them";
}

TEST(StreamKnownStatistics, ARangeNeedsThem) {
  TensorRequest request = PerTensor("int8", {100, 100});
  SessionServer server;
  TestStream stream(server);
  request.range = {0, 6400};
  stream.Send(testing::HeaderFrame(1, request));
  stream.RunAll();
  EXPECT_EQ(DetailsOf(stream.Output(1).error).reason, reason::kStatisticNeeded) << stream.Output(1).error;
}

// ---- Error metrics ----

TEST(StreamErrorMetrics, OfADoubleQuantizationNeedTheOffset) {
  TensorRequest request = Request(DataType::kFloat32, {100'000}, "bnb-nf4", {{"double_quant", "true"}});
  request.error_metrics = true;
  SessionServer server;
  TestStream stream(server);
  stream.Send(testing::HeaderFrame(1, request, {}, false));
  stream.RunAll();
  const absl::Status error = stream.Output(1).error;
  EXPECT_EQ(error.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(DetailsOf(error).reason, reason::kStatisticNeeded);
  EXPECT_THAT(std::string(error.message()), HasSubstr("statistics.offset"));
  EXPECT_EQ(server.spool_budget.bytes_reserved(), 0u);

  request.known.offset = 0.5f;
  std::mt19937_64 random = testing::MakeRandom(7);
  const TensorOutput output = Quantized(server, request, testing::RandomValues(random, request));
  ASSERT_TRUE(output.summary.has_value()) << output.error;
  EXPECT_TRUE(output.summary->errors.has_value());
}

TEST(StreamErrorMetrics, DequantizeIgnoresTheWish) {
  TensorRequest request = Request(DataType::kFloat32, {256}, "bnb-nf4", {{"double_quant", "true"}});
  std::mt19937_64 random = testing::MakeRandom(8);
  const auto segments = Expected(Direction::kQuantize, request, {{"values", testing::RandomValues(random, request)}});
  request.error_metrics = true;
  SessionServer server({.direction = Direction::kDequantize});
  TestStream stream(server);
  stream.Send(Frames(1, testing::DequantizeInput(request, segments, 1 << 20), 1 << 20));
  stream.RunAll();
  ASSERT_TRUE(stream.Output(1).summary.has_value()) << stream.Output(1).error;
  EXPECT_EQ(stream.Output(1).summary->errors, std::nullopt);
}

TEST(StreamErrorMetrics, WithoutAnErrorTheSnrIsInfinite) {
  TensorRequest request = Request(DataType::kFloat32, {64}, "bnb-nf4");
  request.error_metrics = true;
  SessionServer server;
  const TensorOutput output = Quantized(server, request, testing::BytesOf(std::vector<float>(64, -2.5f)));
  ASSERT_TRUE(output.summary.has_value() && output.summary->errors.has_value()) << output.error;
  EXPECT_EQ(output.summary->errors->count, 64u);
  EXPECT_EQ(output.summary->errors->mean_squared_error, 0);
  EXPECT_EQ(output.summary->errors->max_error, 0);
  EXPECT_EQ(output.summary->errors->snr_db, INFINITY);
}

}  // namespace
}  // namespace quantd::server
