// Tensors of two passes whose streams break: what was found stays, and another stream goes on with it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "tests/support/session_harness.h"

namespace quantd::server {
namespace {

using testing::Bytes;
using testing::Expected;
using testing::Frames;
using testing::HeaderFrame;
using testing::Request;
using testing::SegmentBytes;
using testing::SentFrame;
using testing::SessionServer;
using testing::SessionServerOptions;
using testing::TestStream;

constexpr char kId[] = "an-id-drawn-at-random";

// A client that goes on over new streams until it has the summary.
class UploadingClient {
 public:
  UploadingClient(SessionServer& server, TensorRequest request, Bytes values)
      : server_(server), request_(std::move(request)), values_(std::move(values)) {
    request_.upload.emplace().id = kId;
  }

  // Sends the header, and once that is accepted queues the rest of the values.
  std::unique_ptr<TestStream> Open() {
    request_.upload->received_bytes.clear();
    for (const auto& [segment, bytes] : have_) request_.upload->received_bytes[segment] = bytes.size();
    auto stream = std::make_unique<TestStream>(server_);
    stream->Send(HeaderFrame(1, request_));
    stream->Deliver();
    const auto output = stream->Output(1);
    if (!output.accept.has_value()) return stream;
    EXPECT_TRUE(output.accept->upload_kept);
    request_.upload->resume = true;
    request_.upload->server_instance = "here";
    request_.upload->epoch = 7;
    const JobSegment& input = output.accept->inputs.at(0);
    sent_bytes_ += input.end_bytes - input.begin_bytes;
    begin_bytes_ = input.begin_bytes;
    const Bytes rest(values_.begin() + static_cast<ptrdiff_t>(begin_bytes_), values_.end());
    auto frames = Frames(1, {request_, {{"values", begin_bytes_, rest}}}, 300'000);
    frames.front().header.reset();
    stream->Send(std::move(frames));
    return stream;
  }

  // The first `frames` of what the stream has sent arrive.
  void Receive(const TestStream& stream, size_t frames) {
    for (const SentFrame& frame : std::span(stream.io.frames).first(std::min(frames, stream.io.frames.size()))) {
      for (const testing::SentPiece& piece : frame.pieces) {
        Bytes& segment = have_[piece.segment];
        ASSERT_LE(piece.offset, segment.size()) << piece.segment;
        for (size_t i = 0; i < piece.bytes.size(); ++i) {
          if (piece.offset + i < segment.size()) {
            ASSERT_EQ(segment[piece.offset + i], piece.bytes[i]) << piece.segment;
          } else {
            segment.push_back(piece.bytes[i]);
          }
        }
      }
      if (frame.summary.has_value()) summary = frame.summary;
    }
  }
  // The connection is gone, and what was being computed is through.
  void Break(TestStream& stream) {
    stream.session->OnCancelled();
    server_.executor.RunAll();
  }

  const SegmentBytes& have() const { return have_; }
  uint64_t sent_bytes() const { return sent_bytes_; }
  uint64_t begin_bytes() const { return begin_bytes_; }
  TensorRequest& request() { return request_; }
  Bytes& values() { return values_; }
  std::optional<SummaryInfo> summary;

 private:
  SessionServer& server_;
  TensorRequest request_;
  Bytes values_;
  SegmentBytes have_;
  uint64_t sent_bytes_ = 0;
  uint64_t begin_bytes_ = 0;
};

struct SpooledCase {
  std::string name;
  TensorRequest request;
};

SessionServerOptions Options() { return {.limits = testing::SmallLimits(), .spool_memory_bytes_max = 0}; }

TensorRequest DoubleQuantized() {
  return Request(DataType::kBFloat16, {1'500'001}, "bnb-nf4", {{"double_quant", "true"}, {"block_size", "32"}});
}
TensorRequest OneScale() { return Request(DataType::kFloat32, {1001, 999}, "int8", {{"grouping", "tensor"}}); }

class StreamUploadOf : public ::testing::TestWithParam<SpooledCase> {};

TEST_P(StreamUploadOf, AnyBreaksLeaveTheBytesAndTheSummaryOfOneStream) {
  std::mt19937_64 random = testing::MakeRandom(31);
  const TensorRequest request = GetParam().request;
  const Bytes values = testing::RandomValues(random, request);
  const SegmentBytes expected = Expected(Direction::kQuantize, request, {{"values", values}});
  SessionServer server(Options());
  TestStream whole(server);
  whole.Send(Frames(1, testing::QuantizeInput(request, values), 1 << 20));
  whole.RunAll();
  const SummaryInfo summary = *whole.Output(1).summary;
  for (int round = 0; round < 20; ++round) {
    UploadingClient client(server, request, values);
    uint64_t breaks = 0;
    while (!client.summary.has_value()) {
      const auto stream = client.Open();
      ASSERT_TRUE(stream->Output(1).error.ok()) << stream->Output(1).error;
      const uint64_t steps = random() % 60;
      for (uint64_t step = 0; step < steps; ++step) {
        const uint64_t kind = random() % 3;
        if (kind == 0) stream->Deliver();
        if (kind == 1 && server.executor.waiting() > 0) server.executor.Run(random() % server.executor.waiting());
        if (kind == 2) stream->TakeWritten();
      }
      client.Receive(*stream, breaks < 12 ? random() % (stream->io.frames.size() + 1) : SIZE_MAX);
      if (breaks >= 12) {
        stream->RunAll();
        client.Receive(*stream, SIZE_MAX);
      }
      if (client.summary.has_value()) stream->HalfClose();
      stream->Deliver();
      client.Break(*stream);
      ++breaks;
    }
    ASSERT_EQ(client.have(), expected) << "after " << breaks << " breaks";
    EXPECT_EQ(client.summary->amax, summary.amax);
    EXPECT_EQ(client.summary->lowest, summary.lowest);
    EXPECT_EQ(client.summary->highest, summary.highest);
    ASSERT_EQ(client.summary->errors.has_value(), summary.errors.has_value());
    if (summary.errors.has_value()) {
      EXPECT_EQ(client.summary->errors->mean_squared_error, summary.errors->mean_squared_error);
      EXPECT_EQ(client.summary->errors->count, summary.errors->count);
    }
  }
}

TensorRequest WithErrorMetrics(TensorRequest request) {
  request.error_metrics = true;
  return request;
}

INSTANTIATE_TEST_SUITE_P(
    , StreamUploadOf,
    ::testing::Values(SpooledCase{"ScalesAreSpooled", DoubleQuantized()}, SpooledCase{"ValuesAreSpooled", OneScale()},
                      SpooledCase{"WithAZeroPoint",
                                  Request(DataType::kBFloat16, {1001, 999}, "int8-asym", {{"grouping", "tensor"}})},
                      SpooledCase{"ScalesRelativeToOne", Request(DataType::kFloat16, {1001, 512}, "ct-nvfp4")},
                      SpooledCase{"WithErrorMetrics", WithErrorMetrics(OneScale())}),
    [](const auto& info) { return info.param.name; });

TEST(StreamUpload, GoesOnWhereTheServerHadComeTo) {
  SessionServer server(Options());
  UploadingClient client(server, OneScale(), Bytes(4 * 1001 * 999));
  auto stream = client.Open();
  stream->RunAll();
  EXPECT_EQ(client.begin_bytes(), 0u);
  client.Break(*stream);  // before any result has arrived
  EXPECT_EQ(server.uploads.parked_bytes(), 4u * 1001 * 999);
  stream = client.Open();
  EXPECT_EQ(client.begin_bytes(), 4u * 1001 * 999);
  stream->RunAll();
  client.Receive(*stream, SIZE_MAX);
  EXPECT_TRUE(client.summary.has_value());
}

TEST(StreamUpload, BytesBeforeThatAreRefused) {
  SessionServer server(Options());
  UploadingClient client(server, OneScale(), Bytes(4 * 1001 * 999));
  auto stream = client.Open();
  for (int i = 0; i < 4; ++i) stream->Deliver();
  server.executor.RunAll();
  client.Break(*stream);
  client.request().upload->resume = true;
  TestStream second(server);
  second.Send(HeaderFrame(1, client.request()));
  second.Send(testing::MakeFrame(1, {{"values", 0, Bytes(4)}}, false));
  second.RunAll();
  EXPECT_EQ(DetailsOf(second.Output(1).error).reason, reason::kUnexpectedOffset);
}

TEST(StreamUpload, WhatIsSentAgainForItsResultsIsNotCountedTwice) {
  std::mt19937_64 random = testing::MakeRandom(32);
  const TensorRequest request = DoubleQuantized();
  const Bytes values = testing::RandomValues(random, request);
  SessionServer server(Options());
  UploadingClient client(server, request, values);
  auto stream = client.Open();
  stream->RunAll();
  client.Break(*stream);  // everything is counted, and nothing has arrived
  std::fill(client.values().begin(), client.values().end(), std::byte{0});
  stream = client.Open();
  EXPECT_EQ(client.begin_bytes(), 0u);
  stream->RunAll();
  client.Receive(*stream, SIZE_MAX);
  const SegmentBytes expected = Expected(Direction::kQuantize, request, {{"values", values}});
  for (const char* segment : {"scales", "nested_scales", "offset"}) {
    EXPECT_EQ(client.have().at(segment), expected.at(segment)) << segment;
  }
}

TEST(StreamUpload, AHalfCloseAfterTheSummaryFreesItAtOnce) {
  SessionServer server(Options());
  UploadingClient client(server, OneScale(), Bytes(4 * 1001 * 999));
  const auto stream = client.Open();
  stream->RunAll();
  EXPECT_GT(server.spool_budget.bytes_reserved(), 0u) << "the summary may be lost";
  stream->HalfClose();
  stream->RunAll();
  EXPECT_EQ(server.spool_budget.bytes_reserved(), 0u);
  EXPECT_EQ(*stream->io.finished, absl::OkStatus());
}

TEST(StreamUpload, SoDoesTheNextTensor) {
  SessionServer server(Options());
  UploadingClient client(server, OneScale(), Bytes(4 * 1001 * 999));
  const auto stream = client.Open();
  stream->RunAll();
  stream->Send(HeaderFrame(2, Request(DataType::kFloat32, {64})));
  stream->RunAll();
  EXPECT_EQ(server.spool_budget.bytes_reserved(), 0u);
}

TEST(StreamUpload, OfATensorThatFailsNothingIsKept) {
  SessionServer server(Options());
  const float not_a_number[] = {1, std::numeric_limits<float>::quiet_NaN()};
  const auto bytes = std::as_bytes(std::span(not_a_number));
  UploadingClient client(server, Request(DataType::kFloat32, {2}, "int8", {{"grouping", "tensor"}}),
                         Bytes(bytes.begin(), bytes.end()));
  const auto stream = client.Open();
  stream->RunAll();
  EXPECT_EQ(DetailsOf(stream->Output(1).error).reason, reason::kNonfiniteInput);
  client.Break(*stream);
  EXPECT_EQ(server.spool_budget.bytes_reserved(), 0u);
}

TEST(StreamUpload, ExpiresAfterItsTime) {
  SessionServer server(Options());
  UploadingClient client(server, OneScale(), Bytes(4 * 1001 * 999));
  client.Break(*client.Open());
  server.clock.Advance(server.options.limits.park_time_max + absl::Milliseconds(1));
  EXPECT_EQ(DetailsOf(client.Open()->Output(1).error).reason, reason::kUploadUnknown);
  EXPECT_EQ(server.spool_budget.bytes_reserved(), 0u);
}

TEST(StreamUpload, OfOnePassIsNotKept) {
  SessionServer server(Options());
  TestStream stream(server);
  TensorRequest request = OneScale();
  request.known.amax = 3.0f;
  request.upload.emplace().id = kId;
  stream.Send(HeaderFrame(1, request));
  stream.RunAll();
  EXPECT_FALSE(stream.Output(1).accept->upload_kept);
}

TEST(StreamUpload, WhoGoesOnWithAnUploadEndsTheStreamThatHasIt) {
  SessionServer server(Options());
  UploadingClient client(server, OneScale(), Bytes(4 * 1001 * 999));
  const auto half_open = client.Open();  // nobody has told the server that this connection is gone
  for (int i = 0; i < 5; ++i) half_open->Deliver();
  EXPECT_EQ(DetailsOf(client.Open()->Output(1).error).reason, reason::kUploadBusy);
  half_open->session->CheckStall();
  EXPECT_GT(server.executor.waiting(), 0u);
  EXPECT_EQ(DetailsOf(client.Open()->Output(1).error).reason, reason::kUploadBusy) << "its runs write to the spool";
  server.executor.RunAll();
  half_open->RunAll();
  EXPECT_EQ(DetailsOf(*half_open->io.finished).reason, reason::kUploadResumed);
  const auto stream = client.Open();
  stream->RunAll();
  client.Receive(*stream, SIZE_MAX);
  EXPECT_TRUE(client.summary.has_value());
}

TEST(StreamUpload, AFinishedOneCanBeGoneOnWithWhileItsStreamIsStillOpen) {
  SessionServer server(Options());
  UploadingClient client(server, OneScale(), Bytes(4 * 1001 * 999));
  const auto half_open = client.Open();
  half_open->RunAll();
  EXPECT_EQ(server.uploads.parked_bytes(), 4u * 1001 * 999) << "under all limits of what is parked";
  const auto stream = client.Open();
  stream->RunAll();
  client.Receive(*stream, SIZE_MAX);
  EXPECT_TRUE(client.summary.has_value());
}

}  // namespace
}  // namespace quantd::server
