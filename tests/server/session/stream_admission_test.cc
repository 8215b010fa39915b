// What a server that has much to do takes on, and what it gives up.
#include <gtest/gtest.h>

#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "tests/support/session_harness.h"

namespace quantd::server {
namespace {

using testing::Bytes;
using testing::Frames;
using testing::HeaderFrame;
using testing::QuantizeInput;
using testing::Request;
using testing::SessionServer;
using testing::TestStream;

constexpr uint64_t kMiB = 1 << 20;
const Principal kAnn{"ann"};
const Principal kBob{"bob"};

std::string ReasonOf(const absl::Status& status) { return DetailsOf(status).reason; }

class StreamAdmission : public ::testing::Test {
 protected:
  explicit StreamAdmission(const Limits& limits = LimitsOf()) : server_({.limits = limits}) {
    server_.load_budget.Observe(kMiB, absl::Seconds(1));  // a slow machine
  }
  static Limits LimitsOf() {
    return {.slot_bytes = kMiB,
            .slots_max = 4,
            .slots_per_stream_max = 2,
            .slots_per_principal_max = 3,
            .window_bytes = 2 * kMiB,
            .load_bytes_max = 8 * kMiB,
            .load_bytes_per_principal_max = 4 * kMiB};
  }
  // Values of so many bytes.
  static TensorRequest TensorOf(uint64_t bytes) { return Request(DataType::kFloat32, {bytes / sizeof(float)}); }
  static void SendHeader(TestStream& stream, uint64_t seq, uint64_t bytes) {
    stream.Send(HeaderFrame(seq, TensorOf(bytes)));
    stream.RunAll();
  }
  // Sends as much of a tensor as the server takes, whose results the client does not read.
  void FillUp(TestStream& stream) {
    stream.Send(Frames(1, QuantizeInput(TensorOf(4 * kMiB), Bytes(4 * kMiB)), kMiB / 2));
    while (stream.Deliver() || server_.executor.RunOldest()) {
    }
  }

  SessionServer server_;
};

TEST_F(StreamAdmission, ATensorBeyondItsPrincipalsLoadIsRefusedAtItsHeader) {
  TestStream stream(server_, kAnn);
  TestStream next(server_, kAnn);
  SendHeader(stream, 1, 4 * kMiB);
  SendHeader(next, 1, 4 * kMiB);
  EXPECT_TRUE(stream.Output(1).accept.has_value());
  EXPECT_EQ(next.Output(1).error.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(next.Output(1).error), reason::kPrincipalLoad);
  EXPECT_FALSE(next.io.finished.has_value()) << "the stream goes on";
}

TEST_F(StreamAdmission, ATensorBeyondTheServersLoadIsRefusedAtItsHeader) {
  TestStream ann(server_, kAnn);
  TestStream bob(server_, kBob);
  TestStream carl(server_, {"carl"});
  SendHeader(ann, 1, 4 * kMiB);
  SendHeader(bob, 1, 4 * kMiB);
  SendHeader(carl, 1, 256);
  EXPECT_EQ(carl.Output(1).error.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReasonOf(carl.Output(1).error), reason::kServerLoad);
}

TEST_F(StreamAdmission, WhatIsConsumedMakesRoom) {
  TestStream stream(server_, kAnn);
  const auto frames = Frames(1, QuantizeInput(TensorOf(4 * kMiB), Bytes(4 * kMiB)), kMiB);
  stream.Send(frames[0]);
  stream.Send(frames[1]);
  stream.RunAll();
  EXPECT_LT(server_.load_budget.bytes(), 4 * kMiB);
  TestStream next(server_, kAnn);
  SendHeader(next, 1, kMiB);
  EXPECT_TRUE(next.Output(1).accept.has_value());
}

TEST_F(StreamAdmission, AFailedTensorIsNoLoad) {
  TestStream stream(server_, kAnn);
  SendHeader(stream, 1, 4 * kMiB);
  stream.Send(testing::MakeFrame(1, {{"values", 7, Bytes(1)}}, false));
  stream.RunAll();
  EXPECT_EQ(ReasonOf(stream.Output(1).error), reason::kUnexpectedOffset);
  EXPECT_EQ(server_.load_budget.bytes(), 0u);
}

TEST_F(StreamAdmission, ADeadlineShorterThanTheQueueIsRefusedBeforeThePayload) {
  TestStream stream(server_, kAnn);
  SendHeader(stream, 1, 3 * kMiB);  // three seconds
  TestStream late(server_, kAnn, server_.clock.Now() + absl::Seconds(2));
  SendHeader(late, 1, 256);
  EXPECT_EQ(late.Output(1).error.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReasonOf(late.Output(1).error), reason::kQueueTooLong);
  TestStream patient(server_, kAnn, server_.clock.Now() + absl::Seconds(4));
  SendHeader(patient, 1, 256);
  EXPECT_TRUE(patient.Output(1).accept.has_value());
}

class StreamSlotWait : public StreamAdmission {
 protected:
  StreamSlotWait() : StreamAdmission(WithRoom()) {}
  static Limits WithRoom() {
    Limits limits = LimitsOf();
    limits.load_bytes_max = 1000 * kMiB;
    limits.load_bytes_per_principal_max = 1000 * kMiB;
    return limits;
  }
};

TEST_F(StreamSlotWait, SlowReadersOfOnePrincipalLeaveSlotsToOthers) {
  TestStream slow_one(server_, kAnn);
  TestStream slow_two(server_, kAnn);
  FillUp(slow_one);
  FillUp(slow_two);
  EXPECT_EQ(server_.slots_in_use(), 3u) << "of four";
  TestStream bob(server_, kBob);
  bob.Send(Frames(1, QuantizeInput(TensorOf(4 * kMiB), Bytes(4 * kMiB)), kMiB));
  bob.RunAll();
  EXPECT_TRUE(bob.Output(1).summary.has_value());
}

TEST_F(StreamSlotWait, AStreamWhosePrincipalHoldsAllItsSlotsWaitsForItselfOnly) {
  TestStream slow_one(server_, kAnn);
  TestStream slow_two(server_, kAnn);
  FillUp(slow_one);
  FillUp(slow_two);
  TestStream waits(server_, kAnn);
  waits.Send(Frames(1, QuantizeInput(TensorOf(256), Bytes(256)), kMiB));
  waits.RunAll();
  EXPECT_FALSE(waits.Output(1).summary.has_value());
  server_.clock.Advance(server_.options.limits.slot_wait_max);
  waits.session->CheckStall();
  EXPECT_TRUE(waits.Output(1).error.ok());
  server_.clock.Advance(absl::Milliseconds(1));
  waits.session->CheckStall();
  waits.RunAll();
  EXPECT_EQ(waits.Output(1).error.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(waits.Output(1).error), reason::kPrincipalSlots);
  EXPECT_FALSE(waits.io.finished.has_value()) << "the stream goes on";
}

TEST_F(StreamSlotWait, AStreamThatGetsNoSlotOfTheServersIsToldSoInTime) {
  std::vector<SlotPtr> taken;
  const auto others = std::make_shared<SlotAccount>(4, Principal{"others"});
  for (int i = 0; i < 3; ++i) taken.push_back(server_.arena->AcquireOr(others, nullptr));
  const auto another = std::make_shared<SlotAccount>(1, Principal{"another"});
  taken.push_back(server_.arena->AcquireOr(another, nullptr));
  TestStream waits(server_, kAnn);
  waits.Send(Frames(1, QuantizeInput(TensorOf(256), Bytes(256)), kMiB));
  waits.RunAll();
  server_.clock.Advance(server_.options.limits.slot_wait_max + absl::Milliseconds(1));
  waits.session->CheckStall();
  waits.RunAll();
  EXPECT_EQ(waits.Output(1).error.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReasonOf(waits.Output(1).error), reason::kServerSlots);
  taken.clear();
  waits.Send(Frames(2, QuantizeInput(TensorOf(256), Bytes(256)), kMiB));
  waits.RunAll();
  EXPECT_TRUE(waits.Output(2).summary.has_value()) << "later there is one";
}

TEST_F(StreamSlotWait, AStreamThatHasASlotIsNotGivenUp) {
  TestStream slow(server_, kAnn);
  FillUp(slow);
  ASSERT_TRUE(slow.io.write_pending);
  for (int i = 0; i < 10; ++i) {
    server_.clock.Advance(server_.options.limits.slot_wait_max / 2);
    slow.session->CheckStall();
    slow.TakeWritten();
  }
  slow.RunAll();
  EXPECT_TRUE(slow.Output(1).summary.has_value()) << slow.Output(1).error;
}

}  // namespace
}  // namespace quantd::server
