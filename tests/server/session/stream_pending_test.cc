// Large pieces, which stay in their frames until they are computed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "tests/support/session_harness.h"

namespace quantd::server {
namespace {

using testing::Bytes;
using ::testing::Contains;
using testing::Frames;
using testing::HeaderFrame;
using testing::MakeFrame;
using ::testing::Pair;
using testing::QuantizeInput;
using testing::Request;
using testing::SegmentBytes;
using testing::SessionServer;
using testing::TestStream;

constexpr uint64_t kElements = 700'000;

Limits LargeSlots() {
  Limits limits = testing::SmallLimits();
  limits.slot_bytes = limits.window_bytes = 16 << 20;
  return limits;
}

class StreamPending : public ::testing::Test {
 protected:
  Bytes Values(uint64_t begin, uint64_t end) const { return {values_.begin() + begin, values_.begin() + end}; }
  SegmentBytes Expected() const { return testing::Expected(Direction::kQuantize, request_, {{"values", values_}}); }

  const TensorRequest request_ = Request(DataType::kFloat32, {kElements});
  std::mt19937_64 random_{1};
  const Bytes values_ = testing::RandomValues(random_, request_);
  SessionServer server_{{.limits = testing::SmallLimits()}};
  TestStream stream_{server_};
};

TEST_F(StreamPending, GiveTheSameBytesHoweverFramesAndUnitsAreCut) {
  for (const uint64_t frame_bytes : {64u << 10, (64u << 10) + 4, 100'001u, 300'000u, 1u << 20}) {
    TestStream stream(server_);
    stream.Send(Frames(1, QuantizeInput(request_, values_), frame_bytes));
    stream.RunAll();
    EXPECT_EQ(stream.Output(1).segments, Expected()) << frame_bytes;
  }
}

TEST_F(StreamPending, AreReadOnlyWhereEachPieceIsLargeAndElseCopiedInOrder) {
  std::vector<RequestFrame> frames{HeaderFrame(1, request_)};
  uint64_t begin = 0;
  for (const uint64_t bytes : {70'000u, 100u, 65'536u, 65'535u, 200'000u, 3u, 1u}) {
    frames.push_back(MakeFrame(1, {{"values", begin, Values(begin, begin + bytes)}}, false));
    begin += bytes;
  }
  frames.push_back(MakeFrame(1, {{"values", begin, Values(begin, values_.size())}}, true));
  stream_.Send(std::move(frames));
  while (stream_.Deliver()) {  // all of it waits for the first run
  }
  stream_.RunAll();
  EXPECT_EQ(stream_.Output(1).segments, Expected());
}

TEST_F(StreamPending, ADamagedOneFailsTheTensorAndNothingOfItIsSent) {
  constexpr uint64_t kFrameBytes = 400'000;  // the third lies in two slots
  for (const uint64_t damaged : {2 * kFrameBytes, 3 * kFrameBytes - 1}) {
    TestStream stream(server_);
    std::vector<RequestFrame> frames = Frames(1, QuantizeInput(request_, values_), kFrameBytes);
    for (const RequestFrame& frame : frames) {
      if (frame.pieces.empty() || damaged / kFrameBytes * kFrameBytes != frame.pieces[0].offset) continue;
      const_cast<std::byte&>(frame.data.at(0)[damaged % kFrameBytes]) ^= std::byte{1};
    }
    stream.Send(std::move(frames));
    stream.Send(Frames(2, QuantizeInput(request_, values_), kFrameBytes));
    stream.RunAll();
    const testing::TensorOutput output = stream.Output(1);
    EXPECT_EQ(output.error.code(), absl::StatusCode::kDataLoss);
    EXPECT_EQ(DetailsOf(output.error).reason, reason::kChecksumMismatch);
    const uint64_t offset = 2 * kFrameBytes;
    EXPECT_THAT(DetailsOf(output.error).metadata, Contains(Pair("offset", std::to_string(offset))));
    const auto codes = output.segments.find("codes");
    const uint64_t codes_sent = codes == output.segments.end() ? 0 : codes->second.size();
    EXPECT_LE(codes_sent * 8, offset) << "8 bytes of values make one of codes";
    EXPECT_EQ(stream.Output(2).segments, Expected()) << "the stream goes on";
  }
}

TEST_F(StreamPending, OfSeveralInputsGiveTheSameValuesHoweverTheyAreCut) {
  const TensorRequest request = Request(DataType::kFloat32, {3'000'000}, "bnb-nf4", {{"block_size", "32"}});
  const Bytes values = testing::RandomValues(random_, request);
  const SegmentBytes segments = testing::Expected(Direction::kQuantize, request, {{"values", values}});
  const SegmentBytes expected = testing::Expected(Direction::kDequantize, request, segments);
  for (const uint64_t slot_bytes : {1u << 20, 16u << 20}) {
    Limits limits = LargeSlots();
    limits.slot_bytes = slot_bytes;
    SessionServer server{{.direction = Direction::kDequantize, .limits = limits}};
    for (const uint64_t frame_bytes : {100'001u, 300'000u, 1u << 20}) {
      TestStream stream(server);
      stream.Send(HeaderFrame(1, request));
      stream.RunAll();
      const uint64_t batch_elements = stream.io.frames.at(0).accept->batch_elements;
      std::vector<RequestFrame> frames =
          Frames(1, testing::DequantizeInput(request, segments, batch_elements), frame_bytes);
      frames.at(0).header.reset();  // it is there already
      stream.Send(std::move(frames));
      stream.RunAll();
      EXPECT_EQ(stream.Output(1).segments, expected) << slot_bytes << " " << frame_bytes;
    }
  }
}

TEST_F(StreamPending, OneThatNobodyWantsCheckedIsNot) {
  TensorRequest request = request_;
  request.checksum_kind = ChecksumKind::kNone;
  std::vector<RequestFrame> frames = Frames(1, QuantizeInput(request, values_), 1 << 20);
  for (RequestFrame& frame : frames) {
    for (InputPiece& piece : frame.pieces) *piece.crc32c ^= 1;
  }
  stream_.Send(std::move(frames));
  stream_.RunAll();
  EXPECT_TRUE(stream_.Output(1).error.ok());
}

TEST_F(StreamPending, FourRunsAreComputedAtOnceAndTwoMebibytesWait) {
  SessionServer server{{.limits = LargeSlots()}};
  TestStream stream(server);
  const TensorRequest request = Request(DataType::kFloat32, {4'000'000});
  const Bytes values = testing::RandomValues(random_, request);
  stream.Send(Frames(1, QuantizeInput(request, values), 512 << 10));
  int delivered = 0;
  while (stream.Deliver()) ++delivered;
  EXPECT_EQ(delivered, 1 + 3 * 2 + 4) << "the first is computed at once, three have 1 MiB each, and 2 MiB wait";
  EXPECT_EQ(server.executor.waiting(), 4u);
  ASSERT_TRUE(server.executor.RunOldest());
  EXPECT_EQ(server.executor.waiting(), 4u) << "what waited is the next run";
  while (stream.Deliver()) ++delivered;
  EXPECT_EQ(delivered, 11 + 4);
  stream.RunAll();
  EXPECT_EQ(stream.Output(1).segments, testing::Expected(Direction::kQuantize, request, {{"values", values}}));
}

TEST_F(StreamPending, RunsThatEndInAnyOrderGiveTheTensorsOrder) {
  SessionServer server{{.limits = LargeSlots()}};
  TestStream stream(server);
  const TensorRequest request = Request(DataType::kFloat32, {4'000'000});
  const Bytes values = testing::RandomValues(random_, request);
  stream.Send(Frames(1, QuantizeInput(request, values), 300'000));
  do {
    while (stream.Deliver()) {
    }
  } while (server.executor.RunNewest());
  stream.RunAll();
  EXPECT_EQ(stream.Output(1).segments, testing::Expected(Direction::kQuantize, request, {{"values", values}}));
}

TEST_F(StreamPending, SmallFramesGatherToRunsThatAreWorthAThread) {
  SessionServer server{{.limits = LargeSlots()}};
  TestStream stream(server);
  const TensorRequest request = Request(DataType::kFloat32, {1'000'000});
  stream.Send(Frames(1, QuantizeInput(request, testing::RandomValues(random_, request)), 10'000));
  while (stream.Deliver()) {
  }
  EXPECT_EQ(server.executor.waiting(), 5u) << "of 400 frames: the first, three of 1 MiB, and the rest of the tensor";
}

TEST_F(StreamPending, AUnitLargerThanThatIsWaitedFor) {
  SessionServer server{{.limits = LargeSlots()}};
  TestStream stream(server);
  const TensorRequest request = Request(DataType::kFloat32, {3, 900'000}, "bnb-int8");
  const Bytes values = testing::RandomValues(random_, request);
  stream.Send(Frames(1, QuantizeInput(request, values), 512 << 10));
  stream.RunAll();
  EXPECT_TRUE(stream.Output(1).error.ok()) << stream.Output(1).error;
  EXPECT_EQ(stream.Output(1).segments, testing::Expected(Direction::kQuantize, request, {{"values", values}}));
}

TEST_F(StreamPending, AreLetGoOfWhenTheClientLeaves) {
  std::vector<std::weak_ptr<const void>> memory;
  std::vector<RequestFrame> frames = Frames(1, QuantizeInput(request_, values_), 100'000);
  for (const RequestFrame& frame : frames) memory.push_back(frame.owner);
  stream_.Send(std::move(frames));
  size_t delivered = 0;
  while (stream_.Deliver()) ++delivered;
  EXPECT_GT(delivered, 5u);
  stream_.session->OnCancelled();
  while (server_.executor.RunOldest()) {
  }
  for (size_t i = 0; i < delivered; ++i) EXPECT_TRUE(memory[i].expired()) << i;
  EXPECT_EQ(server_.slots_in_use(), 0u);
}

}  // namespace
}  // namespace quantd::server
