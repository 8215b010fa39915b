// Several tensors on one stream.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/session_harness.h"

namespace quantd::server {
namespace {

using testing::Bytes;
using testing::Expected;
using testing::Frames;
using testing::QuantizeInput;
using testing::RandomValues;
using testing::Request;
using testing::SessionServer;
using testing::TestStream;

std::vector<uint64_t> TensorsOf(const std::vector<testing::SentFrame>& frames) {
  std::vector<uint64_t> seqs;
  for (const auto& frame : frames) seqs.push_back(frame.tensor_seq);
  return seqs;
}

TEST(StreamOrder, ResultsLeaveInTheOrderOfTheTensorsWhateverIsComputedFirst) {
  std::mt19937_64 random = testing::MakeRandom(1);
  SessionServer server;
  TestStream stream(server);
  std::vector<Bytes> values;
  const TensorRequest request = Request(DataType::kFloat32, {640});
  for (uint64_t seq = 1; seq <= 5; ++seq) {
    values.push_back(RandomValues(random, request));
    stream.Send(Frames(seq, QuantizeInput(request, values.back()), 1 << 20));
  }
  while (stream.Deliver()) {
  }
  EXPECT_EQ(server.executor.waiting(), 5u) << "the next tensors do not wait for the first";
  EXPECT_EQ(server.slots_in_use(), 1u) << "small tensors share a slot";
  while (server.executor.RunNewest()) {
  }
  stream.RunAll();
  EXPECT_THAT(TensorsOf(stream.io.frames), ::testing::ElementsAre(1, 2, 3, 4, 5));
  for (uint64_t seq = 1; seq <= 5; ++seq) {
    EXPECT_EQ(stream.Output(seq).segments, Expected(Direction::kQuantize, request, {{"values", values[seq - 1]}}));
  }
}

TEST(StreamOrder, RunsOfOneTensorMayBeThroughInAnyOrder) {
  std::mt19937_64 random = testing::MakeRandom(2);
  const TensorRequest request = Request(DataType::kFloat32, {600'000});
  const Bytes values = RandomValues(random, request);
  const auto expected = Expected(Direction::kQuantize, request, {{"values", values}});
  for (uint64_t seed = 0; seed < 8; ++seed) {
    std::mt19937_64 order(seed);
    SessionServer server({.limits = testing::SmallLimits()});
    TestStream stream(server);
    stream.Send(Frames(1, QuantizeInput(request, values), 200'000));
    bool moved = true;
    while (moved) {
      moved = false;
      while (stream.Deliver()) moved = true;
      if (server.executor.waiting() > 0) moved |= server.executor.Run(order() % server.executor.waiting());
      if (!moved) moved = stream.TakeWritten();
    }
    EXPECT_EQ(stream.Output(1).segments, expected) << "seed " << seed;
  }
}

TEST(StreamOrder, ManySmallTensorsAreReadAheadOnlyUpToALimit) {
  SessionServer server;
  TestStream stream(server);
  const TensorRequest request = Request(DataType::kFloat32, {64});
  for (uint64_t seq = 1; seq <= 300; ++seq) stream.Send(Frames(seq, QuantizeInput(request, Bytes(256)), 1000));
  while (stream.Deliver()) {
  }
  EXPECT_EQ(stream.io.reads, 64u);
  stream.RunAll();
  for (uint64_t seq = 1; seq <= 300; ++seq) ASSERT_TRUE(stream.Output(seq).summary.has_value()) << seq;
}

TEST(StreamOrder, ResultsThatNobodyTakesStopTheReading) {
  SessionServer server;
  TestStream stream(server);
  const TensorRequest request = Request(DataType::kFloat32, {64});
  for (uint64_t seq = 1; seq <= 300; ++seq) stream.Send(Frames(seq, QuantizeInput(request, Bytes(256)), 1000));
  while (stream.Deliver() || server.executor.RunOldest()) {
  }
  EXPECT_LE(stream.io.reads, 130u);
  EXPECT_FALSE(stream.io.read_pending);
  stream.RunAll();
  EXPECT_TRUE(stream.Output(300).summary.has_value());
}

TEST(StreamOrder, TheNextTensorIsNotReadBeforeTheLastOneHasItsMemory) {
  std::mt19937_64 random = testing::MakeRandom(3);
  SessionServer server({.limits = testing::SmallLimits()});
  TestStream stream(server);
  const TensorRequest spooled = Request(DataType::kFloat32, {300'000}, "bnb-nf4", {{"double_quant", "true"}});
  const TensorRequest plain = Request(DataType::kFloat32, {1000});
  const Bytes spooled_values = RandomValues(random, spooled);
  const Bytes plain_values = RandomValues(random, plain);
  stream.Send(Frames(1, QuantizeInput(spooled, spooled_values), 1 << 20));
  stream.Send(Frames(2, QuantizeInput(plain, plain_values), 1 << 20));
  while (stream.Deliver()) {
  }
  EXPECT_FALSE(stream.io.read_pending);
  stream.RunAll();
  EXPECT_EQ(stream.Output(1).segments, Expected(Direction::kQuantize, spooled, {{"values", spooled_values}}));
  EXPECT_EQ(stream.Output(2).segments, Expected(Direction::kQuantize, plain, {{"values", plain_values}}));
}

}  // namespace
}  // namespace quantd::server
