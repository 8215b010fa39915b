// A peer that keeps the stream waiting.
#include <gtest/gtest.h>

#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "tests/support/session_harness.h"

namespace quantd::server {
namespace {

using testing::Bytes;
using testing::Frames;
using testing::HeaderFrame;
using testing::MakeFrame;
using testing::QuantizeInput;
using testing::Request;
using testing::SessionServer;
using testing::TestStream;

class StreamStall : public ::testing::Test {
 protected:
  void Pass(absl::Duration duration) {
    server_.clock.Advance(duration);
    stream_.session->CheckStall();
  }
  void ExpectGoesOn() {
    EXPECT_FALSE(stream_.io.finished.has_value()) << *stream_.io.finished;
    EXPECT_FALSE(stream_.io.aborted);
  }
  void ExpectStalled() {
    ASSERT_TRUE(stream_.io.finished.has_value());
    EXPECT_EQ(stream_.io.finished->code(), absl::StatusCode::kDeadlineExceeded);
    EXPECT_EQ(DetailsOf(*stream_.io.finished).reason, reason::kStalled);
    EXPECT_EQ(server_.slots_in_use(), 0u);
  }

  const TensorRequest request_ = Request(DataType::kFloat32, {128});
  SessionServer server_;
  const absl::Duration stall_max_ = server_.options.limits.stall_max;
  TestStream stream_{server_};
};

TEST_F(StreamStall, AClientThatDoesNotReadIsCutOff) {
  stream_.Send(Frames(1, QuantizeInput(request_, Bytes(512)), 1000));
  while (stream_.Deliver() || server_.executor.RunOldest()) {
  }
  ASSERT_TRUE(stream_.io.write_pending);
  Pass(stall_max_);
  ExpectGoesOn();
  Pass(absl::Milliseconds(1));
  EXPECT_TRUE(stream_.io.aborted);
  EXPECT_FALSE(stream_.io.finished.has_value()) << "the status would wait behind the results";
  stream_.session->OnCancelled();  // the transport's answer
  ExpectStalled();
  EXPECT_EQ(DetailsOf(stream_.session->totals().first_error).reason, reason::kStalled);
}

TEST_F(StreamStall, AFrameThatComesAfterTheCutIsNotLookedAt) {
  stream_.Send(Frames(1, QuantizeInput(request_, Bytes(512)), 1000));
  while (stream_.Deliver() || server_.executor.RunOldest()) {
  }
  Pass(stall_max_ + absl::Milliseconds(1));
  ASSERT_TRUE(stream_.io.aborted && stream_.io.read_pending);
  stream_.Send(Frames(2, QuantizeInput(request_, Bytes(512)), 1000));
  stream_.Deliver();
  EXPECT_EQ(server_.executor.waiting(), 0u);
  stream_.session->OnCancelled();
  ExpectStalled();
  EXPECT_EQ(stream_.session->totals().tensors_failed, 0u);
}

TEST_F(StreamStall, EveryFrameThatIsTakenBeginsTheTimeAnew) {
  for (uint64_t seq = 1; seq <= 3; ++seq) stream_.Send(Frames(seq, QuantizeInput(request_, Bytes(512)), 1000));
  while (stream_.Deliver() || server_.executor.RunOldest()) {
  }
  for (int i = 0; i < 3; ++i) {
    Pass(stall_max_);
    ExpectGoesOn();
    ASSERT_TRUE(stream_.TakeWritten());
  }
}

TEST_F(StreamStall, AClientThatStopsSendingInsideATensorIsCutOff) {
  stream_.Send(HeaderFrame(1, request_, {{"values", 0, Bytes(300)}}));
  stream_.RunAll();
  Pass(stall_max_);
  ExpectGoesOn();
  Pass(absl::Milliseconds(1));
  ExpectStalled();
}

TEST_F(StreamStall, AClientThatDoesNotEndAFailedTensorIsCutOff) {
  stream_.Send(HeaderFrame(1, Request(DataType::kFloat32, {128}, "none")));
  stream_.RunAll();
  Pass(stall_max_ + absl::Milliseconds(1));
  ExpectStalled();
}

TEST_F(StreamStall, EmptyFramesKeepAStreamAlive) {
  stream_.Send(HeaderFrame(1, request_));
  stream_.RunAll();
  for (int i = 0; i < 5; ++i) {
    Pass(stall_max_);
    stream_.Send(MakeFrame(1, {}, false));
    stream_.RunAll();
  }
  ExpectGoesOn();
}

TEST_F(StreamStall, EmptyFramesAloneDoNotHoldASlotForEver) {
  stream_.Send(HeaderFrame(1, request_, {{"values", 0, Bytes(300)}}));
  stream_.RunAll();
  for (int i = 0; i < 10; ++i) {
    Pass(stall_max_);
    stream_.Send(MakeFrame(1, {}, false));
    stream_.RunAll();
  }
  ExpectGoesOn();
  Pass(absl::Milliseconds(1));
  ExpectStalled();
}

TEST_F(StreamStall, BetweenTensorsAClientMayTakeItsTime) {
  Pass(absl::Hours(10));
  stream_.Send(Frames(1, QuantizeInput(request_, Bytes(512)), 1000));
  stream_.RunAll();
  Pass(absl::Hours(10));
  ExpectGoesOn();
  EXPECT_EQ(server_.slots_in_use(), 0u);
}

TEST_F(StreamStall, AServerThatIsSlowIsNotTheClientsFault) {
  stream_.Send(HeaderFrame(1, request_, {{"values", 0, Bytes(256)}}));
  while (stream_.Deliver() || stream_.TakeWritten()) {
  }
  ASSERT_EQ(server_.executor.waiting(), 1u);
  Pass(10 * stall_max_);
  ExpectGoesOn();
}

TEST_F(StreamStall, TheClientsTimeBeginsWhenTheServerHasAnswered) {
  stream_.Send(HeaderFrame(1, request_, {{"values", 0, Bytes(256)}}));
  while (stream_.Deliver() || stream_.TakeWritten()) {
  }
  Pass(10 * stall_max_);
  server_.executor.RunAll();
  stream_.session->CheckStall();
  ExpectGoesOn();
  Pass(stall_max_ / 2);
  ASSERT_TRUE(stream_.TakeWritten());
  stream_.session->CheckStall();
  ExpectGoesOn();
  Pass(stall_max_);
  ExpectGoesOn();
  Pass(absl::Milliseconds(1));
  ExpectStalled();
}

TEST_F(StreamStall, WaitingForASlotIsNotTheClientsFault) {
  SessionServer server({.limits = {.slot_bytes = 1 << 20, .slots_max = 2, .slots_per_stream_max = 2}});
  TestStream greedy(server);
  greedy.io.keeps_slices = true;
  const TensorRequest large = Request(DataType::kFloat32, {1 << 20});
  greedy.Send(Frames(1, QuantizeInput(large, Bytes(4 << 20)), 1 << 20));
  greedy.RunAll();
  ASSERT_EQ(server.slots_in_use(), 2u);
  TestStream patient(server);
  patient.Send(HeaderFrame(1, request_, {{"values", 0, Bytes(256)}}));
  patient.RunAll();
  server.clock.Advance(10 * server.options.limits.stall_max);
  patient.session->CheckStall();
  EXPECT_FALSE(patient.io.finished.has_value());
  EXPECT_FALSE(patient.io.aborted);
}

}  // namespace
}  // namespace quantd::server
