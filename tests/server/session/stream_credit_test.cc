// How far the client may run ahead, and how far it can.
#include <gtest/gtest.h>

#include "tests/support/session_harness.h"

namespace quantd::server {
namespace {

using testing::Bytes;
using testing::Frames;
using testing::QuantizeInput;
using testing::Request;
using testing::SessionServer;
using testing::TestStream;

constexpr uint64_t kFrameBytes = 256 << 10;
constexpr uint64_t kElements = 4 << 20;

class StreamCredit : public ::testing::Test {
 protected:
  void SendTensor(const std::string& double_quant) {
    const TensorRequest request = Request(DataType::kFloat32, {kElements}, "bnb-nf4", {{"double_quant", double_quant}});
    stream_.Send(Frames(1, QuantizeInput(request, Bytes(kElements * 4)), kFrameBytes));
  }
  uint64_t ReceivedBytes() const { return stream_.session->totals().bytes_received; }
  uint64_t ConsumedBytes() const { return stream_.io.frames.empty() ? 0 : stream_.io.frames.back().consumed_bytes; }

  SessionServer server_{{.limits = testing::SmallLimits()}};
  const uint64_t slots_bytes_ = server_.options.limits.slot_bytes * server_.options.limits.slots_per_stream_max;
  TestStream stream_{server_};
};

TEST_F(StreamCredit, NeverMoreThanTheSlotsHoldIsReceivedBeyondWhatIsConsumed) {
  SendTensor("false");
  uint64_t most = 0;
  while (stream_.Deliver() || server_.executor.RunOldest() || stream_.TakeWritten()) {
    ASSERT_LE(ReceivedBytes(), ConsumedBytes() + slots_bytes_ + kFrameBytes);
    most = std::max(most, ReceivedBytes() - ConsumedBytes());
  }
  EXPECT_EQ(ConsumedBytes(), kElements * 4);
  EXPECT_GT(most, slots_bytes_ / 2) << "the slots are made use of";
}

TEST_F(StreamCredit, WithoutComputingThreadsReadingStopsWhenTheSlotsAreFull) {
  SendTensor("false");
  while (stream_.Deliver() || stream_.TakeWritten()) {
  }
  EXPECT_FALSE(stream_.io.read_pending);
  EXPECT_EQ(server_.slots_in_use(), server_.options.limits.slots_per_stream_max);
  EXPECT_LE(ReceivedBytes(), slots_bytes_ + kFrameBytes);
  EXPECT_EQ(ConsumedBytes(), 0u);
}

TEST_F(StreamCredit, ConsumedBytesEndAtTheTotalAlsoWhereScalesAreSpooled) {
  SendTensor("true");
  stream_.RunAll();
  EXPECT_EQ(stream_.Output(1).consumed_bytes, kElements * 4);
}

TEST_F(StreamCredit, ConsumedBytesAreWholeUnits) {
  const TensorRequest request = Request(DataType::kFloat32, {1000});
  stream_.Send(testing::HeaderFrame(1, request, {{"values", 0, Bytes(64 * 4 * 3 + 7)}}));
  stream_.RunAll();
  EXPECT_EQ(ConsumedBytes(), 64u * 4 * 3);
}

TEST_F(StreamCredit, UnitsThatAreThereAreComputedBeforeTheirBatchIsFull) {
  const TensorRequest request = Request(DataType::kFloat32, {1 << 20});
  stream_.Send(testing::HeaderFrame(1, request, {{"values", 0, Bytes(1024)}}));
  stream_.RunAll();
  EXPECT_EQ(ConsumedBytes(), 1024u);
  stream_.Send(testing::MakeFrame(1, {{"values", 1024, Bytes(512)}}, false));
  stream_.RunAll();
  EXPECT_EQ(ConsumedBytes(), 1536u);
}

TEST_F(StreamCredit, SmallFramesThatGatherWhileARunIsComputedGoOutTogether) {
  const TensorRequest request = Request(DataType::kFloat32, {1 << 20});
  stream_.Send(testing::HeaderFrame(1, request, {{"values", 0, Bytes(256)}}));
  for (uint64_t i = 1; i < 20; ++i) stream_.Send(testing::MakeFrame(1, {{"values", i * 256, Bytes(256)}}, false));
  while (stream_.Deliver()) {
  }
  EXPECT_EQ(server_.executor.waiting(), 1u);
  server_.executor.RunOldest();
  EXPECT_EQ(server_.executor.waiting(), 1u);
  server_.executor.RunOldest();
  EXPECT_EQ(server_.executor.waiting(), 0u) << "nineteen blocks in one run";
  stream_.RunAll();
  EXPECT_EQ(ConsumedBytes(), 20u * 256);
}

// A client that sends to its last byte of credit and not beyond, where windows are as narrow as they get.
struct NarrowWindow {
  std::string name;
  Direction direction;
  std::string double_quant;
  std::string block_size;
};

class StreamNarrowWindow : public ::testing::TestWithParam<NarrowWindow> {};

TEST_P(StreamNarrowWindow, IsEnoughForEveryTensor) {
  const NarrowWindow& param = GetParam();
  std::mt19937_64 random = testing::MakeRandom(1);
  const TensorRequest request = Request(DataType::kFloat32, {2'500'000}, "bnb-nf4",
                                        {{"double_quant", param.double_quant}, {"block_size", param.block_size}});
  const Bytes values = testing::RandomValues(random, request);
  const Limits limits{.window_bytes = 6 << 20, .windows_bytes_max = 1 << 20};
  SessionServer server({.direction = param.direction, .limits = limits});
  TestStream stream(server);
  stream.Send(testing::HeaderFrame(1, request));
  stream.RunAll();
  const AcceptInfo accept = stream.io.frames.at(0).accept.value();
  const uint64_t window_bytes = stream.io.frames.at(0).window_bytes;
  testing::TensorInput input = QuantizeInput(request, values);
  if (param.direction == Direction::kDequantize) {
    const auto segments = testing::Expected(Direction::kQuantize, request, {{"values", values}});
    input = testing::DequantizeInput(request, segments, accept.batch_elements);
  }
  uint64_t sent = 0;
  for (const testing::InputPart& part : input.parts) {
    for (uint64_t begin = 0; begin < part.bytes.size();) {
      const uint64_t credit = stream.io.frames.back().consumed_bytes + window_bytes - sent;
      ASSERT_GT(credit, 0u) << "stuck at byte " << begin << " of " << part.segment << ", " << sent << " sent";
      const uint64_t end = begin + std::min<uint64_t>({credit, part.bytes.size() - begin, 1 << 20});
      const Bytes piece(part.bytes.begin() + static_cast<ptrdiff_t>(begin),
                        part.bytes.begin() + static_cast<ptrdiff_t>(end));
      stream.Send(testing::MakeFrame(1, {{part.segment, part.offset + begin, piece}}, false));
      stream.RunAll();
      sent += end - begin;
      begin = end;
    }
  }
  stream.Send(testing::MakeFrame(1, {}, true));
  stream.RunAll();
  EXPECT_TRUE(stream.Output(1).summary.has_value());
}

INSTANTIATE_TEST_SUITE_P(, StreamNarrowWindow,
                         ::testing::Values(NarrowWindow{"Quantize", Direction::kQuantize, "false", "64"},
                                           NarrowWindow{"QuantizeTheLargestUnit", Direction::kQuantize, "true", "4096"},
                                           NarrowWindow{"Dequantize", Direction::kDequantize, "false", "64"},
                                           NarrowWindow{"DequantizeNested", Direction::kDequantize, "true", "64"},
                                           NarrowWindow{"DequantizeTheLargestUnit", Direction::kDequantize, "true",
                                                        "4096"}),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace quantd::server
