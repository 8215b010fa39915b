// Every preset through a stream: the bytes are those of the backend on the whole tensor, whatever the shape and the
// cut.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/session_harness.h"

namespace quantd::server {
namespace {

using testing::Bytes;
using testing::Expected;
using testing::Frames;
using testing::QuantizeInput;
using testing::Request;
using testing::SegmentBytes;
using testing::SessionServer;
using testing::TensorOutput;
using testing::TestStream;

std::vector<std::string> PresetNames() {
  std::vector<std::string> names;
  for (const PresetInfo& preset : AllPresets()) names.push_back(preset.name);
  return names;
}

class StreamPresets : public ::testing::TestWithParam<std::string> {
 protected:
  TensorOutput Run(Direction direction, const TensorRequest& request, const SegmentBytes& inputs) {
    SessionServer server({.direction = direction, .limits = testing::SmallLimits()});
    TestStream stream(server);
    if (direction == Direction::kQuantize) {
      stream.Send(Frames(1, QuantizeInput(request, inputs.at("values")), 100'000));
    } else {
      stream.Send(testing::HeaderFrame(1, request));
      stream.RunAll();
      if (!stream.Output(1).error.ok()) return stream.Output(1);
      const uint64_t batch_elements = stream.io.frames.at(0).accept.value().batch_elements;
      auto frames = Frames(1, testing::DequantizeInput(request, inputs, batch_elements), 100'000);
      frames.front().header.reset();
      stream.Send(std::move(frames));
    }
    stream.RunAll();
    return stream.Output(1);
  }

  // Sends no segment that Dequantize does not take.
  static SegmentBytes InputsOf(SegmentBytes segments) {
    segments.erase(std::string(kWeightShapeSegment));
    return segments;
  }

  // Those that a range of the tensor needs.
  static KnownStatistics StatisticsOf(const Plan& plan, const std::vector<float>& values) {
    if (!plan.NeedsSpool()) return {};
    const auto [min, max] = std::minmax_element(values.begin(), values.end());
    if (!plan.scheme.symmetric) return {.min = *min, .max = *max};
    return {.amax = std::max(-*min, *max)};
  }

  std::mt19937_64 random_ = testing::MakeRandom(1);
};

TEST_P(StreamPresets, GiveTheBackendsBytesInBothDirections) {
  for (const std::vector<uint64_t>& shape : {std::vector<uint64_t>{1000, 512}, {37, 256}, {1, 256}, {0, 256}}) {
    SCOPED_TRACE(shape[0]);
    const TensorRequest request = Request(DataType::kBFloat16, shape, GetParam());
    const Bytes values = testing::RandomValues(random_, request);
    const TensorOutput quantized = Run(Direction::kQuantize, request, {{"values", values}});
    ASSERT_TRUE(quantized.summary.has_value()) << quantized.error;
    const SegmentBytes expected = Expected(Direction::kQuantize, request, {{"values", values}});
    for (const auto& [name, bytes] : expected) {
      const auto made = quantized.segments.find(name);
      EXPECT_EQ(made == quantized.segments.end() ? Bytes() : made->second, bytes) << name;
    }
    const SegmentBytes inputs = InputsOf(expected);
    const TensorOutput back = Run(Direction::kDequantize, request, inputs);
    ASSERT_TRUE(back.summary.has_value()) << back.error;
    if (shape[0] > 0) {
      EXPECT_EQ(back.segments, Expected(Direction::kDequantize, request, inputs));
    }
  }
}

TEST_P(StreamPresets, RangesJoinToTheWholeTensor) {
  TensorRequest request = Request(DataType::kFloat32, {300, 256}, GetParam());
  const Bytes values = testing::RandomValues(random_, request);
  const SegmentBytes expected = Expected(Direction::kQuantize, request, {{"values", values}});
  const Plan plan = testing::PlanOrDie(request.scheme, Direction::kQuantize, request.dtype, request.shape);
  request.known = StatisticsOf(plan, testing::ValuesOf<float>(values));
  const uint64_t units = plan.unit_count();
  const uint64_t cut = std::min(plan.element_count, units / 3 * plan.unit_elements);
  SegmentBytes joined;
  for (const auto& [begin, end] : {std::pair{uint64_t{0}, cut}, {cut, plan.element_count}}) {
    request.range = {begin, end};
    const TensorOutput part = Run(Direction::kQuantize, request, {{"values", values}});
    ASSERT_TRUE(part.summary.has_value()) << part.error;
    for (const auto& [name, bytes] : part.segments) {
      const bool of_the_tensor = part.begin_offsets.at(name) < joined[name].size();
      if (of_the_tensor) {
        EXPECT_EQ(bytes, joined[name]) << name;
      } else {
        joined[name].insert(joined[name].end(), bytes.begin(), bytes.end());
      }
    }
  }
  for (const auto& [name, bytes] : expected) EXPECT_EQ(joined[name], bytes) << name;
}

INSTANTIATE_TEST_SUITE_P(, StreamPresets, ::testing::ValuesIn(PresetNames()), [](const auto& info) {
  std::string name = info.param;
  for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name;
});

}  // namespace
}  // namespace quantd::server
