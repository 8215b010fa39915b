#include "client/cpp/split_run.h"

#include <atomic>
#include <barrier>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/scheme/scheme.h"

namespace quantd {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

constexpr uint64_t kMiB = 1 << 20;

Plan PlanOf(const std::vector<uint64_t>& shape, const SchemeRequest& scheme = {.preset = "bnb-nf4"}) {
  return *MakePlan(*ResolveScheme(scheme), Direction::kQuantize, DataType::kFloat32, shape);
}

MATCHER_P2(IsPart, begin, end, "") { return arg.begin == uint64_t{begin} && arg.end == uint64_t{end}; }

TEST(PartsOf, AreWholeUnitsOfAboutTheSameSize) {
  EXPECT_THAT(PartsOf(PlanOf({64 * 10}), 1, 3), ElementsAre(IsPart(0u, 256u), IsPart(256u, 448u), IsPart(448u, 640u)));
}

TEST(PartsOf, TheLastEndsWithTheTensor) {
  EXPECT_THAT(PartsOf(PlanOf({100}), 1, 2), ElementsAre(IsPart(0u, 64u), IsPart(64u, 100u)));
}

TEST(PartsOf, AreNotSmallerThanAsked) {
  EXPECT_THAT(PartsOf(PlanOf({kMiB}), 2 * kMiB, 8), SizeIs(2));
  EXPECT_THAT(PartsOf(PlanOf({kMiB}), 5 * kMiB, 8), SizeIs(1));
  EXPECT_THAT(PartsOf(PlanOf({kMiB}), 1, 8), SizeIs(8));
}

TEST(PartsOf, OfAnEmptyTensorIsOne) { EXPECT_THAT(PartsOf(PlanOf({0}), 1, 8), ElementsAre(IsPart(0u, 0u))); }

TEST(PartsOf, IsOneWhereTheTensorNeedsAStatisticOfItsOwn) {
  const SchemeRequest nested{.preset = "bnb-nf4", .overrides = {{"double_quant", "true"}}};
  EXPECT_THAT(PartsOf(PlanOf({kMiB}, nested), 1, 8), SizeIs(1));
}

class RunPartsTest : public ::testing::Test {
 protected:
  absl::StatusOr<Summary> Run(const RunPart& run, const CallOptions& options = {}) {
    return RunParts(task_, {{0, 64}, {64, 128}, {128, 192}}, joined_, options, run);
  }

  const std::vector<SegmentLayout> layout_ = {{.name = "codes", .dtype = DataType::kUint8, .bytes = 3, .unit_bytes = 1},
                                              {.name = "offset", .dtype = DataType::kUint8, .bytes = 1}};
  TensorTask task_;
  JoinedSegments joined_{layout_};
};

absl::Status BeginOf(SegmentSink& sink, uint64_t codes_bytes = 3) {
  const SegmentView segments[] = {{"codes", DataType::kUint8, {3}, {}}, {"offset", DataType::kUint8, {1}, {}}};
  const uint64_t sizes[] = {codes_bytes, 1};
  return sink.Begin({.preset = "toy"}, segments, sizes);
}

std::span<const std::byte> Text(const std::string& text) { return std::as_bytes(std::span(text)); }

TEST_F(RunPartsTest, WritesEveryPartInItsPlaceAndWholeTensorSegmentsOnce) {
  const auto summary =
      Run([](size_t part, const TensorTask& task, SegmentSink& sink, const CallOptions&) -> absl::StatusOr<Summary> {
        EXPECT_EQ(task.header.range().begin(), part * 64);
        EXPECT_EQ(task.header.range().end(), part * 64 + 64);
        EXPECT_TRUE(BeginOf(sink).ok());
        EXPECT_TRUE(sink.Write("codes", part, Text(std::string(1, static_cast<char>('a' + part)))).ok());
        EXPECT_TRUE(sink.Write("offset", 0, Text(part == 0 ? "0" : "x")).ok());
        Summary own;
        own.amax = part == 1 ? 5.0f : 1.0f;
        own.lowest = -static_cast<float>(part);
        own.highest = static_cast<float>(part);
        own.nonfinite_count = part;
        own.compute_time = absl::Seconds(1);
        own.total_time = absl::Seconds(static_cast<int64_t>(part));
        own.device = part == 2 ? "gpu" : "cpu";
        return own;
      });
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(summary->amax, 5);
  EXPECT_EQ(summary->lowest, -2);
  EXPECT_EQ(summary->highest, 2);
  EXPECT_EQ(summary->nonfinite_count, 3u);
  EXPECT_EQ(summary->compute_time, absl::Seconds(3));
  EXPECT_EQ(summary->total_time, absl::Seconds(2));
  EXPECT_THAT(summary->device, ::testing::HasSubstr("gpu"));
  const std::vector<Segment> segments = joined_.TakeSegments();
  EXPECT_TRUE(std::ranges::equal(segments[0].bytes, Text("abc")));
  EXPECT_TRUE(std::ranges::equal(segments[1].bytes, Text("0")));
}

TEST_F(RunPartsTest, RunsPartsAtTheSameTime) {
  std::barrier all_there(3);
  const auto summary = Run([&](size_t, const TensorTask&, SegmentSink&, const CallOptions&) -> absl::StatusOr<Summary> {
    all_there.arrive_and_wait();
    return Summary{};
  });
  EXPECT_TRUE(summary.ok());
}

TEST_F(RunPartsTest, TheFirstErrorCancelsTheOthers) {
  const auto summary =
      Run([](size_t part, const TensorTask&, SegmentSink&, const CallOptions& options) -> absl::StatusOr<Summary> {
        if (part == 1) return absl::DataLossError("damaged");
        while (!options.cancel->cancelled()) std::this_thread::yield();
        return absl::CancelledError("cancelled");
      });
  EXPECT_EQ(summary.status(), absl::DataLossError("damaged"));
}

TEST_F(RunPartsTest, TheCallersTokenCancelsAllParts) {
  CancelToken token;
  token.Cancel();
  const auto summary = Run(
      [](size_t, const TensorTask&, SegmentSink&, const CallOptions& options) -> absl::StatusOr<Summary> {
        EXPECT_TRUE(options.cancel->cancelled());
        return absl::CancelledError("cancelled");
      },
      {.cancel = &token});
  EXPECT_EQ(summary.status().code(), absl::StatusCode::kCancelled);
}

TEST_F(RunPartsTest, ProgressIsThatOfAllParts) {
  uint64_t consumed = 0, total = 0;
  const auto summary = Run(
      [](size_t, const TensorTask&, SegmentSink&, const CallOptions& options) -> absl::StatusOr<Summary> {
        options.progress(10, 20);
        return Summary{};
      },
      {.progress = [&](uint64_t consumed_bytes, uint64_t total_bytes) {
        consumed = consumed_bytes;
        total = total_bytes;
      }});
  EXPECT_TRUE(summary.ok());
  EXPECT_EQ(consumed, 30u);
  EXPECT_EQ(total, 60u);
}

TEST_F(RunPartsTest, RefusesAServerWithOtherSegments) {
  const auto summary =
      Run([](size_t, const TensorTask&, SegmentSink& sink, const CallOptions&) -> absl::StatusOr<Summary> {
        if (absl::Status status = BeginOf(sink, 1000); !status.ok()) return status;
        return Summary{};
      });
  EXPECT_EQ(summary.status().code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace quantd
