// The server is told to stop.
#include <gtest/gtest.h>

#include <random>

#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "tests/support/session_harness.h"

namespace quantd::server {
namespace {

using testing::Bytes;
using testing::Frames;
using testing::QuantizeInput;
using testing::SessionServer;
using testing::TestStream;

class StreamDrain : public ::testing::Test {
 protected:
  void ExpectDrained() {
    ASSERT_TRUE(stream_.io.finished.has_value());
    EXPECT_EQ(stream_.io.finished->code(), absl::StatusCode::kUnavailable);
    EXPECT_EQ(DetailsOf(*stream_.io.finished).reason, reason::kServerDraining);
    EXPECT_EQ(server_.slots_in_use(), 0u);
  }

  const TensorRequest request_ = testing::Request(DataType::kFloat32, {64});
  const testing::TensorInput input_ = QuantizeInput(request_, Bytes(256));
  SessionServer server_;
  TestStream stream_{server_};
};

TEST_F(StreamDrain, AnIdleStreamEndsAtOnce) {
  stream_.session->BeginDrain();
  ExpectDrained();
}

TEST_F(StreamDrain, AStreamThatHasNotStartedYetEndsToo) {
  SessionServer server;
  testing::FakeIo io(server.options.limits);
  const auto session = std::make_shared<StreamSession>(server.Environment(), io);
  session->BeginDrain();
  session->Start();
  EXPECT_EQ(io.finished.value().code(), absl::StatusCode::kUnavailable);
  session->Detach();
}

TEST_F(StreamDrain, ATensorInTheMiddleGoesOnToItsSummary) {
  auto frames = Frames(1, input_, 100);
  ASSERT_EQ(frames.size(), 3u);
  stream_.Send(frames[0]);
  stream_.RunAll();
  stream_.session->BeginDrain();
  EXPECT_FALSE(stream_.io.finished.has_value());
  stream_.Send(frames[1]);
  stream_.Send(frames[2]);
  stream_.RunAll();
  EXPECT_TRUE(stream_.Output(1).summary.has_value());
  ExpectDrained();
}

TEST_F(StreamDrain, ResultsThatAreOnTheirWayGoOut) {
  stream_.Send(Frames(1, input_, 1000));
  stream_.Deliver();
  stream_.session->BeginDrain();
  EXPECT_FALSE(stream_.io.finished.has_value());
  server_.executor.RunAll();
  EXPECT_TRUE(stream_.io.write_pending);
  EXPECT_FALSE(stream_.io.finished.has_value()) << "the status would overtake the results";
  stream_.TakeWritten();
  EXPECT_TRUE(stream_.Output(1).summary.has_value());
  ExpectDrained();
}

TEST_F(StreamDrain, ATensorThatBeginsIsRefusedInBand) {
  stream_.Send(Frames(1, input_, 1000));
  stream_.Deliver();
  stream_.session->BeginDrain();
  stream_.Send(Frames(2, input_, 1000));
  stream_.RunAll();
  EXPECT_TRUE(stream_.Output(1).summary.has_value());
  EXPECT_EQ(DetailsOf(stream_.Output(2).error).reason, reason::kServerDraining);
  ExpectDrained();
}

TEST_F(StreamDrain, ATensorThatIsRefusedInItsMiddleIsDiscardedToItsEnd) {
  stream_.Send(Frames(1, input_, 1000));
  stream_.Deliver();
  stream_.session->BeginDrain();
  auto frames = Frames(2, input_, 100);
  stream_.Send(frames[0]);
  stream_.RunAll();
  EXPECT_EQ(DetailsOf(stream_.Output(2).error).reason, reason::kServerDraining);
  EXPECT_FALSE(stream_.io.finished.has_value()) << "its client would take the end for a broken connection";
  stream_.Send(frames[1]);
  stream_.Send(frames[2]);
  stream_.RunAll();
  ExpectDrained();
}

TEST_F(StreamDrain, AClientThatHadNothingMoreToSendEndsWithOk) {
  stream_.Send(Frames(1, input_, 1000));
  stream_.HalfClose();
  while (stream_.Deliver()) {
  }
  stream_.session->BeginDrain();
  stream_.RunAll();
  EXPECT_TRUE(stream_.Output(1).summary.has_value());
  EXPECT_TRUE(stream_.io.finished.value().ok());
}

std::string MetadataOf(const absl::Status& status, const std::string& key) {
  for (const auto& [name, value] : DetailsOf(status).metadata) {
    if (name == key) return value;
  }
  return "";
}

TEST_F(StreamDrain, ATensorThatIsHandedBackSaysWhereToGoOn) {
  const TensorRequest request = testing::Request(DataType::kFloat32, {256});
  std::mt19937_64 random(1);
  const Bytes values = testing::RandomValues(random, request);
  const auto input = QuantizeInput(request, values);
  auto frames = Frames(1, input, 600);  // two blocks of 64 values, and a part of the third
  stream_.Send(frames[0]);
  stream_.RunAll();
  stream_.session->BeginDrain();
  stream_.session->HandBack();
  stream_.RunAll();
  const auto output = stream_.Output(1);
  EXPECT_EQ(output.error.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(DetailsOf(output.error).reason, reason::kServerDraining);
  EXPECT_EQ(MetadataOf(output.error, "resume_element"), "128");
  EXPECT_EQ(MetadataOf(output.error, "consumed_bytes"), "512");
  ExpectDrained();

  SessionServer elsewhere;
  TestStream rest(elsewhere);
  TensorRequest range = request;
  range.range = {128, 256};
  rest.Send(Frames(1, QuantizeInput(range, values), 1000));
  rest.RunAll();
  auto segments = output.segments;
  for (const auto& [name, bytes] : rest.Output(1).segments) {
    segments[name].insert(segments[name].end(), bytes.begin(), bytes.end());
  }
  EXPECT_EQ(segments, testing::Expected(Direction::kQuantize, request, {{"values", values}}));
}

TEST_F(StreamDrain, ResultsThatWaitForTheTransportGoOutBeforeTheTensorIsHandedBack) {
  const TensorRequest request = testing::Request(DataType::kFloat32, {256});
  auto frames = Frames(1, QuantizeInput(request, Bytes(1024)), 600);
  stream_.Send(frames[0]);
  while (stream_.Deliver() || server_.executor.RunOldest()) {
  }
  stream_.session->HandBack();
  EXPECT_FALSE(stream_.io.finished.has_value());
  stream_.RunAll();
  EXPECT_EQ(stream_.Output(1).segments.at("codes").size(), 64u);
  EXPECT_EQ(MetadataOf(stream_.Output(1).error, "resume_element"), "128");
  ExpectDrained();
}

TEST_F(StreamDrain, ASpooledTensorIsHandedBackAsAWhole) {
  const TensorRequest request = testing::Request(DataType::kFloat32, {256}, "bnb-nf4", {{"double_quant", "true"}});
  stream_.Send(Frames(1, QuantizeInput(request, Bytes(1024)), 600)[0]);
  stream_.RunAll();
  stream_.session->HandBack();
  stream_.RunAll();
  EXPECT_EQ(MetadataOf(stream_.Output(1).error, "resume_element"), "0");
}

TEST_F(StreamDrain, WhatIsStillComputedWhenItIsHandedBackIsNotWaitedFor) {
  stream_.Send(Frames(1, input_, 1000));
  stream_.Deliver();
  stream_.session->HandBack();
  stream_.TakeWritten();
  stream_.TakeWritten();
  EXPECT_TRUE(stream_.io.finished.has_value());
  EXPECT_EQ(MetadataOf(stream_.Output(1).error, "resume_element"), "0");
  server_.executor.RunAll();
  ExpectDrained();
}

TEST_F(StreamDrain, TwiceIsOnce) {
  stream_.session->BeginDrain();
  stream_.session->BeginDrain();
  ExpectDrained();
}

}  // namespace
}  // namespace quantd::server
