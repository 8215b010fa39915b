// The same bytes in frames, pieces and parts of any sizes make the same bytes.
#include <gtest/gtest.h>

#include "tests/support/session_harness.h"

namespace quantd::server {
namespace {

using testing::Bytes;
using testing::Expected;
using testing::RandomFrames;
using testing::Request;
using testing::SegmentBytes;
using testing::SessionServer;
using testing::TestStream;

constexpr uint64_t kRounds = 12;

TensorRequest RandomRequest(std::mt19937_64& random, Direction direction) {
  const DataType dtypes[] = {DataType::kFloat32, DataType::kFloat16, DataType::kBFloat16};
  const std::string presets[] = {"bnb-nf4", "bnb-fp4", "nf4"};
  const std::string block_sizes[] = {"32", "64", "256"};
  TensorRequest request = Request(dtypes[random() % 3], {random() % 40, 1 + random() % 20'000}, presets[random() % 3],
                                  {{"block_size", block_sizes[random() % 3]}});
  if (request.scheme.preset != "nf4" && random() % 2 == 0) {
    request.scheme.overrides["double_quant"] = "true";
    if (direction == Direction::kQuantize && random() % 2 == 0) request.known.offset = 1.5f;
  }
  return request;
}

// Does what can be done in random order until nothing can.
void RunInRandomOrder(std::mt19937_64& random, SessionServer& server, TestStream& stream) {
  int idle = 0;
  while (idle < 60) {
    bool moved = false;
    switch (random() % 3) {
      case 0:
        moved = stream.Deliver();
        break;
      case 1:
        moved = server.executor.waiting() > 0 && server.executor.Run(random() % server.executor.waiting());
        break;
      case 2:
        moved = stream.TakeWritten();
        break;
    }
    idle = moved ? 0 : idle + 1;
  }
  stream.RunAll();
}

class StreamRandom : public ::testing::TestWithParam<uint64_t> {};

TEST_P(StreamRandom, QuantizeAndDequantizeInAnySplitAndOrder) {
  std::mt19937_64 random = testing::MakeRandom(GetParam());
  SCOPED_TRACE("seed " + std::to_string(GetParam()));
  Limits limits = testing::SmallLimits();
  limits.slots_per_stream_max = 2 + random() % 2;
  limits.response_data_bytes = static_cast<uint32_t>((4 << 10) + random() % (1 << 20));
  for (const Direction direction : {Direction::kQuantize, Direction::kDequantize}) {
    SessionServer server({.direction = direction, .limits = limits, .spool_memory_bytes_max = 1000});
    TestStream stream(server);
    std::vector<SegmentBytes> expected;
    for (uint64_t seq = 1; seq <= 3; ++seq) {
      const TensorRequest request = RandomRequest(random, direction);
      const Bytes values = testing::RandomValues(random, request);
      testing::TensorInput input = testing::QuantizeInput(request, values);
      expected.push_back(Expected(Direction::kQuantize, request, {{"values", values}}));
      if (direction == Direction::kDequantize) {
        // Batches of one unit fit every slot.
        const uint64_t unit = testing::PlanOrDie(request.scheme, direction, request.dtype, request.shape).unit_elements;
        input = testing::DequantizeInput(request, expected.back(), unit);
        expected.back() = Expected(direction, request, expected.back());
      }
      stream.Send(RandomFrames(random, seq, input, 300'000));
    }
    stream.HalfClose();
    RunInRandomOrder(random, server, stream);
    for (uint64_t seq = 1; seq <= 3; ++seq) {
      const testing::TensorOutput output = stream.Output(seq);
      ASSERT_TRUE(output.summary.has_value()) << "tensor " << seq << ": " << output.error;
      for (const auto& [name, bytes] : expected[seq - 1]) {
        const auto found = output.segments.find(name);
        EXPECT_TRUE(found == output.segments.end() ? bytes.empty() : found->second == bytes)
            << "tensor " << seq << ", " << name;
      }
    }
    EXPECT_TRUE(stream.io.finished.value().ok()) << *stream.io.finished;
  }
}

INSTANTIATE_TEST_SUITE_P(, StreamRandom, ::testing::Range<uint64_t>(1, 1 + kRounds));

}  // namespace
}  // namespace quantd::server
