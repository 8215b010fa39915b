// Slots: what bounds memory, and whom they are for.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/session_harness.h"

namespace quantd::server {
namespace {

using testing::Bytes;
using testing::Expected;
using testing::Frames;
using testing::QuantizeInput;
using testing::Request;
using testing::SessionServer;
using testing::TestStream;

const TensorRequest kLarge = Request(DataType::kFloat32, {1 << 20});  // five slots of a megabyte
const TensorRequest kSmall = Request(DataType::kFloat32, {640});

// As many slots as a server can have at least.
Limits TwoSlots() { return {.slot_bytes = 1 << 20, .slots_max = 2, .slots_per_stream_max = 2}; }

testing::SegmentBytes ExpectedOf(const TensorRequest& request, const Bytes& values) {
  return Expected(Direction::kQuantize, request, {{"values", values}});
}

class StreamSlots : public ::testing::Test {
 protected:
  StreamSlots() {
    std::mt19937_64 random = testing::MakeRandom(1);
    large_values_ = testing::RandomValues(random, kLarge);
    small_values_ = testing::RandomValues(random, kSmall);
  }
  void SendLarge(TestStream& stream, uint64_t seq = 1, uint64_t frame_bytes = 1 << 20) const {
    stream.Send(Frames(seq, QuantizeInput(kLarge, large_values_), frame_bytes));
  }
  void SendSmall(TestStream& stream, uint64_t seq = 1) const {
    stream.Send(Frames(seq, QuantizeInput(kSmall, small_values_), 1 << 20));
  }

  Bytes large_values_;
  Bytes small_values_;
};

TEST_F(StreamSlots, AnIdleStreamHoldsNone) {
  SessionServer server;
  TestStream stream(server);
  SendLarge(stream);
  SendSmall(stream, 2);
  stream.RunAll();
  EXPECT_EQ(server.slots_in_use(), 0u);
}

TEST_F(StreamSlots, ATransportThatKeepsSlicesStopsItsOwnStreamAtTheCap) {
  Limits limits = testing::SmallLimits();
  limits.slots_per_principal_max = limits.slots_max;
  SessionServer server({.limits = limits});
  TestStream slow(server);
  slow.io.keeps_slices = true;
  SendLarge(slow);
  slow.RunAll();
  EXPECT_EQ(server.slots_in_use(), 3u);
  EXPECT_FALSE(slow.io.read_pending);
  EXPECT_FALSE(slow.Output(1).summary.has_value());
  TestStream other(server);
  SendLarge(other);
  other.RunAll();
  EXPECT_TRUE(other.Output(1).summary.has_value()) << "the others have the rest";
  while (!slow.io.kept_slices.empty()) {
    slow.io.kept_slices.clear();
    slow.RunAll();
  }
  EXPECT_EQ(slow.Output(1).segments, ExpectedOf(kLarge, large_values_));
}

TEST_F(StreamSlots, OneSliceThatIsLetGoIsEnoughToGoOn) {
  SessionServer server({.limits = TwoSlots()});
  TestStream stream(server);
  stream.io.keeps_slices = true;
  SendLarge(stream);
  stream.RunAll();
  while (!stream.io.kept_slices.empty()) {
    stream.io.kept_slices.erase(stream.io.kept_slices.begin());
    stream.RunAll();
  }
  EXPECT_EQ(stream.Output(1).segments, ExpectedOf(kLarge, large_values_));
}

TEST_F(StreamSlots, WhoWaitsGetsTheFirstThatComesBack) {
  SessionServer server({.limits = TwoSlots()});
  TestStream holder(server);
  holder.io.keeps_slices = true;
  SendLarge(holder);
  holder.RunAll();
  ASSERT_EQ(server.slots_in_use(), 2u);
  TestStream waiter(server);
  SendSmall(waiter);
  waiter.RunAll();
  EXPECT_TRUE(waiter.io.frames.empty());
  holder.io.kept_slices.clear();
  waiter.RunAll();
  EXPECT_TRUE(waiter.Output(1).summary.has_value()) << "though the holder would take both again";
  while (!holder.io.kept_slices.empty()) {
    holder.RunAll();
    holder.io.kept_slices.clear();
  }
}

TEST_F(StreamSlots, ThreeStreamsShareTwoSlotsAndAllComeToTheirEnd) {
  SessionServer server({.limits = TwoSlots()});
  TestStream one(server);
  TestStream two(server);
  TestStream three(server);
  TestStream* const streams[] = {&one, &two, &three};
  for (TestStream* stream : streams) {
    SendLarge(*stream, 1, 300'000);
    SendSmall(*stream, 2);
    stream->HalfClose();
  }
  bool moved = true;
  while (moved) {
    moved = false;
    for (TestStream* stream : streams) moved |= stream->Deliver() | stream->TakeWritten();
    moved |= server.executor.RunOldest();
  }
  for (TestStream* stream : streams) {
    EXPECT_EQ(stream->Output(1).segments, ExpectedOf(kLarge, large_values_));
    EXPECT_EQ(stream->Output(2).segments, ExpectedOf(kSmall, small_values_));
    EXPECT_TRUE(stream->io.finished.value().ok());
  }
}

TEST_F(StreamSlots, AMessageLargerThanTheStreamsSlotsIsAnsweredInParts) {
  const TensorRequest request = Request(DataType::kFloat32, {1'000'000});
  const Bytes values(4'000'000);
  SessionServer server({.limits = TwoSlots()});
  TestStream stream(server);
  auto frames = Frames(1, QuantizeInput(request, values), 4'000'000);
  ASSERT_EQ(frames.size(), 1u);
  stream.Send(std::move(frames));
  stream.RunAll();
  EXPECT_EQ(stream.Output(1).segments, ExpectedOf(request, values));
}

TEST_F(StreamSlots, MessagesThatEachHoldASlotDoNotWaitForEachOther) {
  const TensorRequest request = Request(DataType::kFloat32, {400'000});
  const Bytes values(1'600'000);
  SessionServer server({.limits = TwoSlots()});
  TestStream holder(server);
  holder.io.keeps_slices = true;
  SendLarge(holder);
  holder.RunAll();
  TestStream one(server);
  TestStream two(server);
  for (TestStream* stream : {&one, &two}) {
    stream->Send(Frames(1, QuantizeInput(request, values), 4'000'000));
    stream->Deliver();
  }
  holder.session->OnCancelled();
  holder.io.kept_slices.clear();
  bool moved = true;
  while (moved) moved = server.executor.RunOldest() | one.TakeWritten() | two.TakeWritten();
  EXPECT_EQ(one.Output(1).segments, ExpectedOf(request, values));
  EXPECT_EQ(two.Output(1).segments, ExpectedOf(request, values));
}

TEST_F(StreamSlots, ASlotForAStreamThatIsGoneGoesToTheNext) {
  SessionServer server({.limits = TwoSlots()});
  TestStream holder(server);
  holder.io.keeps_slices = true;
  SendLarge(holder);
  holder.RunAll();
  TestStream next(server);
  {
    TestStream gone(server);
    SendSmall(gone);
    gone.RunAll();
    SendSmall(next);
    next.RunAll();
    gone.session->OnCancelled();
  }
  holder.session->OnCancelled();
  holder.io.kept_slices.clear();
  next.RunAll();
  EXPECT_TRUE(next.Output(1).summary.has_value());
  EXPECT_EQ(server.slots_in_use(), 0u);
}

// A NaN in the first of two slots, and a third one wanted for the rest of the frame.
class StreamSlotsOfAFailedTensor : public ::testing::Test {
 protected:
  StreamSlotsOfAFailedTensor() {
    std::vector<float> values(1 << 20);
    values[5] = NAN;
    auto frames = Frames(1, QuantizeInput(kLarge, testing::BytesOf(values)), 4 << 20);
    frames[0].last = false;
    stream_.Send(std::move(frames));
    stream_.Deliver();
    EXPECT_EQ(server_.slots_in_use(), 2u);
    EXPECT_FALSE(stream_.io.read_pending);
    server_.executor.RunOldest();
  }

  SessionServer server_{{.limits = TwoSlots()}};
  TestStream stream_{server_};
};

TEST_F(StreamSlotsOfAFailedTensor, OneThatIsNoLongerNeededGoesBackAtOnce) {
  server_.executor.RunAll();
  EXPECT_EQ(server_.slots_in_use(), 0u);
}

TEST_F(StreamSlotsOfAFailedTensor, OneThatComesAfterTheStreamsErrorGoesBackAtOnce) {
  ASSERT_TRUE(stream_.io.write_pending) << "the client does not read its accept";
  stream_.Send(testing::MakeFrame(7, {}, false));
  ASSERT_TRUE(stream_.Deliver());
  EXPECT_FALSE(stream_.io.finished.has_value());
  server_.executor.RunAll();
  EXPECT_EQ(server_.slots_in_use(), 0u);
}

}  // namespace
}  // namespace quantd::server
