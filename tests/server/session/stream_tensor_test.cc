// One tensor, from its header to its summary.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <tuple>

#include "tests/support/session_harness.h"

namespace quantd::server {
namespace {

using testing::Bytes;
using testing::DequantizeInput;
using ::testing::ElementsAre;
using testing::Expected;
using testing::Frames;
using testing::QuantizeInput;
using testing::RandomValues;
using testing::Request;
using testing::SegmentBytes;
using testing::SessionServer;
using testing::TensorOutput;
using testing::TestStream;

void ExpectSucceeded(const TensorOutput& output, const SegmentBytes& expected) {
  EXPECT_TRUE(output.error.ok()) << output.error;
  ASSERT_TRUE(output.summary.has_value());
  for (const auto& [name, bytes] : expected) {
    const auto found = output.segments.find(name);
    ASSERT_NE(found, output.segments.end()) << name;
    EXPECT_TRUE(found->second == bytes) << name << " differs";
  }
}

TEST(StreamTensor, ASmallOneIsOneMessageEachWay) {
  std::mt19937_64 random = testing::MakeRandom(1);
  SessionServer server;
  TestStream stream(server);
  const TensorRequest request = Request(DataType::kFloat32, {32, 64});
  const Bytes values = RandomValues(random, request);
  auto frames = Frames(1, QuantizeInput(request, values), 1 << 20);
  ASSERT_EQ(frames.size(), 1u);
  stream.Send(std::move(frames));
  stream.RunAll();
  ASSERT_EQ(stream.io.frames.size(), 1u);
  EXPECT_EQ(stream.io.frames[0].tensor_seq, 1u);
  EXPECT_EQ(stream.io.frames[0].consumed_bytes, values.size());
  EXPECT_TRUE(stream.io.frames[0].accept.has_value());
  ExpectSucceeded(stream.Output(1), Expected(Direction::kQuantize, request, {{"values", values}}));
  EXPECT_FALSE(stream.io.finished.has_value());
  stream.HalfClose();
  stream.RunAll();
  ASSERT_TRUE(stream.io.finished.has_value());
  EXPECT_TRUE(stream.io.finished->ok());
}

TEST(StreamTensor, AHalfCloseAtOnceEndsTheStream) {
  SessionServer server;
  TestStream stream(server);
  stream.HalfClose();
  stream.RunAll();
  EXPECT_TRUE(stream.io.finished.value().ok());
  EXPECT_TRUE(stream.io.frames.empty());
}

TEST(StreamTensor, TheAcceptSaysWhatWillBeDone) {
  SessionServer server;
  TestStream stream(server);
  const TensorRequest request = Request(DataType::kFloat16, {10, 100}, "bnb-fp4", {{"block_size", "128"}});
  stream.Send(testing::HeaderFrame(1, request));
  stream.RunAll();
  ASSERT_EQ(stream.io.frames.size(), 1u) << "the accept does not wait for data";
  const AcceptInfo accept = stream.io.frames[0].accept.value();
  EXPECT_EQ(accept.scheme.preset, "bnb-fp4");
  EXPECT_EQ(accept.scheme.overrides.at("block_size"), "128");
  EXPECT_EQ(accept.scheme.overrides.at("double_quant"), "false");
  EXPECT_GT(accept.scheme.format_revision, 0u);
  EXPECT_EQ(accept.unit_elements, 128u);
  EXPECT_EQ(accept.batch_elements % 128, 0u);
  ASSERT_EQ(accept.inputs.size(), 1u);
  EXPECT_EQ(accept.inputs[0].layout.name, "values");
  EXPECT_EQ(accept.inputs[0].end_bytes, 2000u);
  ASSERT_EQ(accept.outputs.size(), 2u);
  EXPECT_EQ(accept.outputs[0].end_bytes, 500u);
  EXPECT_EQ(accept.outputs[1].end_bytes, 8 * sizeof(float));
  EXPECT_EQ(server.slots_in_use(), 0u) << "a header alone takes no slot";
}

TEST(StreamTensor, TheSummaryHasDigestsStatisticsAndTimes) {
  SessionServer server;
  TestStream stream(server);
  const TensorRequest request = Request(DataType::kFloat32, {4}, "bnb-nf4", {{"nonfinite", "saturate"}});
  stream.Send(Frames(1, QuantizeInput(request, testing::BytesOf<float>({1, -7, INFINITY, NAN})), 100));
  while (stream.Deliver()) {
  }
  server.clock.Advance(absl::Seconds(3));
  stream.RunAll();
  const SummaryInfo summary = stream.Output(1).summary.value();
  EXPECT_EQ(summary.amax, 7.0f);
  EXPECT_EQ(summary.nonfinite_count, 2u);
  EXPECT_EQ(summary.queue_time, absl::Seconds(3));
  EXPECT_EQ(summary.total_time, absl::Seconds(3));
  EXPECT_EQ(summary.device, "cpu");
  ASSERT_EQ(summary.outputs.size(), 2u);
  EXPECT_TRUE(summary.outputs[0].crc32c.has_value() && summary.outputs[1].crc32c.has_value());
}

TEST(StreamTensor, WithoutChecksumsNoneIsVerifiedAndNoneIsSent) {
  SessionServer server;
  TestStream stream(server);
  TensorRequest request = Request(DataType::kFloat32, {64});
  request.checksum_kind = ChecksumKind::kNone;
  auto frames = Frames(1, QuantizeInput(request, Bytes(256)), 1000);
  frames[0].pieces[0].crc32c = 12345;
  stream.Send(std::move(frames));
  stream.RunAll();
  const TensorOutput output = stream.Output(1);
  ASSERT_TRUE(output.summary.has_value()) << output.error;
  for (const auto& digest : output.summary->outputs) EXPECT_FALSE(digest.crc32c.has_value());
  for (const auto& piece : stream.io.frames[0].pieces) EXPECT_FALSE(piece.crc32c.has_value());
}

TEST(StreamTensor, APieceWithoutAChecksumIsTakenUnlessTheHeaderAsksForOne) {
  SessionServer server;
  TestStream stream(server);
  const TensorRequest request = Request(DataType::kFloat32, {64});
  auto frames = Frames(1, QuantizeInput(request, Bytes(256)), 1000);
  frames[0].pieces[0].crc32c.reset();
  stream.Send(std::move(frames));
  stream.RunAll();
  EXPECT_TRUE(stream.Output(1).summary.has_value());
}

struct Shape {
  std::string name;
  std::vector<uint64_t> shape;
};

class StreamShape : public ::testing::TestWithParam<std::tuple<Shape, bool>> {
 protected:
  const Shape& shape() const { return std::get<0>(GetParam()); }
  bool double_quant() const { return std::get<1>(GetParam()); }
  TensorRequest MakeRequest() const {
    return Request(DataType::kBFloat16, shape().shape, "bnb-nf4",
                   {{"double_quant", double_quant() ? "true" : "false"}, {"block_size", "32"}});
  }
};

TEST_P(StreamShape, GoesThereAndBack) {
  std::mt19937_64 random = testing::MakeRandom(3);
  const TensorRequest request = MakeRequest();
  const Bytes values = RandomValues(random, request);
  SegmentBytes segments;
  {
    SessionServer server({.limits = testing::SmallLimits()});
    TestStream stream(server);
    stream.Send(Frames(1, QuantizeInput(request, values), 300'000));
    stream.RunAll();
    segments = Expected(Direction::kQuantize, request, {{"values", values}});
    ExpectSucceeded(stream.Output(1), segments);
    EXPECT_EQ(stream.Output(1).consumed_bytes, values.size());
  }
  SessionServer server({.direction = Direction::kDequantize, .limits = testing::SmallLimits()});
  TestStream stream(server);
  stream.Send(testing::HeaderFrame(1, request));
  stream.RunAll();
  const uint64_t batch_elements = stream.io.frames.at(0).accept->batch_elements;
  auto frames = Frames(1, DequantizeInput(request, segments, batch_elements), 70'000);
  frames[0].header.reset();
  stream.Send(std::move(frames));
  stream.RunAll();
  ExpectSucceeded(stream.Output(1), Expected(Direction::kDequantize, request, segments));
}

INSTANTIATE_TEST_SUITE_P(
    , StreamShape,
    ::testing::Combine(::testing::Values(Shape{"Empty", {0}}, Shape{"EmptyInTheMiddle", {3, 0, 5}}, Shape{"Scalar", {}},
                                         Shape{"One", {1}}, Shape{"Odd", {33}}, Shape{"OneBlock", {32}},
                                         Shape{"OneNestedBlock", {8192}}, Shape{"JustBeyond", {8193}},
                                         Shape{"OddMatrix", {1001, 333}}, Shape{"SeveralSlots", {1024, 1500}}),
                       ::testing::Bool()),
    [](const auto& info) { return std::get<0>(info.param).name + (std::get<1>(info.param) ? "DoubleQuantized" : ""); });

TEST(StreamTensor, OutputSegmentsOfAUnitComeTogetherAndThoseOfTheTensorLast) {
  std::mt19937_64 random = testing::MakeRandom(4);
  SessionServer server({.limits = testing::SmallLimits()});
  TestStream stream(server);
  TensorRequest request = Request(DataType::kFloat32, {1 << 20}, "bnb-nf4", {{"double_quant", "true"}});
  request.known.offset = 0.5f;
  const Bytes values = RandomValues(random, request);
  stream.Send(Frames(1, QuantizeInput(request, values), 1 << 20));
  stream.RunAll();
  const TensorOutput output = stream.Output(1);
  EXPECT_THAT(output.segment_order, ElementsAre("codes", "scales", "nested_scales", "offset"));
  EXPECT_EQ(output.segments.at("offset"), testing::BytesOf<float>({0.5f}));
  ExpectSucceeded(output, Expected(Direction::kQuantize, request, {{"values", values}}));
}

TEST(StreamTensor, EmptyPiecesAndFramesKeepAStreamAliveAndChangeNothing) {
  std::mt19937_64 random = testing::MakeRandom(5);
  SessionServer server;
  TestStream stream(server);
  const TensorRequest request = Request(DataType::kFloat32, {64});
  const Bytes values = RandomValues(random, request);
  const Bytes half(values.begin(), values.begin() + 100);
  const Bytes rest(values.begin() + 100, values.end());
  stream.Send(testing::HeaderFrame(1, request, {{"values", 0, {}}}));
  stream.Send(testing::MakeFrame(1, {}, false));
  stream.Send(testing::MakeFrame(1, {{"values", 0, {}}, {"values", 0, half}, {"values", 100, {}}}, false));
  stream.Send(testing::MakeFrame(1, {{"values", 100, {}}, {"values", 100, rest}, {"values", 256, {}}}, false));
  stream.Send(testing::MakeFrame(1, {{"values", 256, {}}}, false));
  stream.Send(testing::MakeFrame(1, {}, true));
  stream.RunAll();
  ExpectSucceeded(stream.Output(1), Expected(Direction::kQuantize, request, {{"values", values}}));
}

class StreamRange : public ::testing::TestWithParam<bool> {};

TEST_P(StreamRange, TheRangesOfATensorTogetherAreTheTensor) {
  std::mt19937_64 random = testing::MakeRandom(6);
  TensorRequest request = Request(DataType::kFloat32, {37, 1000}, "bnb-nf4",
                                  {{"block_size", "32"}, {"double_quant", GetParam() ? "true" : "false"}});
  if (GetParam()) request.known.offset = 2.25f;
  const Bytes values = RandomValues(random, request);
  const SegmentBytes whole = Expected(Direction::kQuantize, request, {{"values", values}});
  SessionServer server;
  TestStream stream(server);
  SegmentBytes joined;
  uint64_t seq = 0;
  const uint64_t ends[] = {0, 8192, 16384, 16384, 32768, 37000, 37000};
  for (size_t i = 0; i + 1 < std::size(ends); ++i) {
    TensorRequest part = request;
    part.range = {ends[i], ends[i + 1]};
    stream.Send(Frames(++seq, QuantizeInput(part, values), 5000));
    stream.RunAll();
    const TensorOutput output = stream.Output(seq);
    ASSERT_TRUE(output.summary.has_value()) << output.error;
    for (const auto& [name, bytes] : output.segments) {
      if (name == "offset") {
        EXPECT_EQ(bytes, whole.at("offset"));
        joined[name] = bytes;
        continue;
      }
      if (!bytes.empty()) {
        EXPECT_EQ(output.begin_offsets.at(name), joined[name].size()) << name;
      }
      joined[name].insert(joined[name].end(), bytes.begin(), bytes.end());
    }
  }
  EXPECT_EQ(joined, whole);
}

TEST_P(StreamRange, DequantizesWhatItNames) {
  std::mt19937_64 random = testing::MakeRandom(7);
  TensorRequest request = Request(DataType::kFloat32, {37, 1000}, "bnb-nf4",
                                  {{"block_size", "32"}, {"double_quant", GetParam() ? "true" : "false"}});
  const SegmentBytes segments = Expected(Direction::kQuantize, request, {{"values", RandomValues(random, request)}});
  const Bytes whole = Expected(Direction::kDequantize, request, segments).at("values");
  request.range = {8192, 37000};
  SessionServer server({.direction = Direction::kDequantize});
  TestStream stream(server);
  stream.Send(Frames(1, DequantizeInput(request, segments, 8192), 5000));
  stream.RunAll();
  const TensorOutput output = stream.Output(1);
  EXPECT_EQ(output.begin_offsets.at("values"), 8192 * sizeof(float));
  ExpectSucceeded(output, {{"values", Bytes(whole.begin() + 8192 * sizeof(float), whole.end())}});
}

INSTANTIATE_TEST_SUITE_P(, StreamRange, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "DoubleQuantized" : "Plain"; });

TEST(StreamTensor, ResponsesStayWithinTheDataOfOneFrame) {
  std::mt19937_64 random = testing::MakeRandom(8);
  Limits limits = testing::SmallLimits();
  limits.response_data_bytes = 4096;
  SessionServer server({.direction = Direction::kDequantize, .limits = limits});
  TestStream stream(server);
  const TensorRequest request = Request(DataType::kFloat32, {200'000});
  const SegmentBytes segments = Expected(Direction::kQuantize, request, {{"values", RandomValues(random, request)}});
  stream.Send(Frames(1, DequantizeInput(request, segments, 200'000), 1 << 20));
  stream.RunAll();
  EXPECT_GE(stream.io.frames.size(), 200'000u * 4 / 4096);
  ExpectSucceeded(stream.Output(1), Expected(Direction::kDequantize, request, segments));
}

TEST(StreamTensor, TotalsAreForTheLogLine) {
  SessionServer server;
  TestStream stream(server);
  const TensorRequest request = Request(DataType::kFloat32, {64});
  stream.Send(Frames(1, QuantizeInput(request, Bytes(256)), 1000));
  stream.Send(testing::HeaderFrame(2, Request(DataType::kFloat32, {64}, "none"), {{"values", 0, Bytes(256)}}, true));
  stream.RunAll();
  const StreamTotals totals = stream.session->totals();
  EXPECT_EQ(totals.tensors_done, 1u);
  EXPECT_EQ(totals.tensors_failed, 1u);
  EXPECT_EQ(totals.bytes_received, 512u);
  EXPECT_EQ(totals.bytes_sent, 32u + 4u);
  EXPECT_FALSE(totals.first_error.ok());
}

}  // namespace
}  // namespace quantd::server
