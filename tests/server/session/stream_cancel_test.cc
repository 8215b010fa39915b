// The client leaves: everything comes back, whenever that is.
#include <gtest/gtest.h>

#include "tests/support/session_harness.h"

namespace quantd::server {
namespace {

using testing::Bytes;
using testing::Frames;
using testing::Request;
using testing::SegmentBytes;
using testing::SessionServer;
using testing::SessionServerOptions;
using testing::TestStream;

struct Scenario {
  std::string name;
  Direction direction;
  bool double_quant;
  bool keeps_slices;
};

class StreamCancel : public ::testing::TestWithParam<Scenario> {
 protected:
  StreamCancel() {
    std::mt19937_64 random = testing::MakeRandom(1);
    const TensorRequest request = Request(DataType::kFloat32, {300'000}, "bnb-nf4",
                                          {{"double_quant", GetParam().double_quant ? "true" : "false"}});
    const Bytes values = testing::RandomValues(random, request);
    input_ = testing::QuantizeInput(request, values);
    if (GetParam().direction == Direction::kQuantize) return;
    const SegmentBytes segments = testing::Expected(Direction::kQuantize, request, {{"values", values}});
    input_ = testing::DequantizeInput(request, segments, 16384);
  }

  // Does up to `events` things with two tensors on a stream; returns how many there were to do.
  uint64_t Run(SessionServer& server, TestStream& stream, uint64_t events) {
    stream.io.keeps_slices = GetParam().keeps_slices;
    stream.Send(Frames(1, input_, 250'000));
    stream.Send(Frames(2, input_, 250'000));
    stream.HalfClose();
    uint64_t done = 0;
    const auto let_go = [&] {
      if (stream.io.kept_slices.empty()) return false;
      stream.io.kept_slices.clear();
      return true;
    };
    while (done < events && (stream.Deliver() || server.executor.RunOldest() || stream.TakeWritten() || let_go())) {
      ++done;
    }
    return done;
  }
  SessionServerOptions Options() const {
    return {.direction = GetParam().direction, .limits = testing::SmallLimits(), .spool_memory_bytes_max = 0};
  }

  testing::TensorInput input_;
};

TEST_P(StreamCancel, AfterAnyStepGivesEverythingBack) {
  uint64_t all_events = 0;
  {
    SessionServer server(Options());
    TestStream stream(server);
    all_events = Run(server, stream, UINT64_MAX);
    ASSERT_TRUE(stream.io.finished.value().ok());
    EXPECT_EQ(server.slots_in_use(), 0u);
  }
  for (uint64_t events = 0; events < all_events; ++events) {
    SCOPED_TRACE("cancelled after event " + std::to_string(events));
    SessionServer server(Options());
    TestStream stream(server);
    Run(server, stream, events);
    if (stream.io.finished.has_value()) break;  // what is left is the transport's affair
    stream.session->OnCancelled();
    EXPECT_EQ(stream.io.finished.value().code(), absl::StatusCode::kCancelled);
    stream.session->OnCancelled();  // a failed read and the cancellation may both say so
    stream.io.kept_slices.clear();
    server.executor.RunAll();
    EXPECT_EQ(server.slots_in_use(), 0u);
    EXPECT_EQ(server.spool_budget.bytes_reserved(), 0u);
    const StreamTotals totals = stream.session->totals();
    EXPECT_LE(totals.tensors_done + totals.tensors_failed, 2u);
    EXPECT_FALSE(totals.first_error.ok());
    ASSERT_FALSE(::testing::Test::HasFailure());
  }
}

TEST_P(StreamCancel, DetachAfterAnyStepGivesEverythingBack) {
  for (uint64_t events = 0; events < 40; ++events) {
    SCOPED_TRACE("detached after event " + std::to_string(events));
    SessionServer server(Options());
    TestStream stream(server);
    Run(server, stream, events);
    stream.session->Detach();
    stream.session->CheckStall();
    stream.session->BeginDrain();
    stream.io.kept_slices.clear();
    server.executor.RunAll();
    EXPECT_EQ(server.slots_in_use(), 0u);
    EXPECT_EQ(server.spool_budget.bytes_reserved(), 0u);
    ASSERT_FALSE(::testing::Test::HasFailure());
  }
}

INSTANTIATE_TEST_SUITE_P(, StreamCancel,
                         ::testing::Values(Scenario{"Quantize", Direction::kQuantize, false, false},
                                           Scenario{"QuantizeSpooled", Direction::kQuantize, true, false},
                                           Scenario{"QuantizeWithASlowTransport", Direction::kQuantize, true, true},
                                           Scenario{"Dequantize", Direction::kDequantize, false, true},
                                           Scenario{"DequantizeNested", Direction::kDequantize, true, false}),
                         [](const auto& info) { return info.param.name; });

class CountingBackend final : public Backend {
 public:
  std::string_view name() const override { return "counting"; }
  std::string_view target() const override { return "none"; }
  absl::StatusOr<BatchResult> Run(const Plan&, const UnitBatch&, const std::atomic<bool>&) override {
    ++calls;
    return BatchResult{};
  }
  int calls = 0;
};

TEST(StreamCancelOnce, WhatHasNotBegunIsNotComputed) {
  CountingBackend backend;
  SessionServer server({.backend = &backend});
  TestStream stream(server);
  const TensorRequest request = Request(DataType::kFloat32, {64});
  stream.Send(Frames(1, testing::QuantizeInput(request, Bytes(256)), 1000));
  stream.Deliver();
  ASSERT_EQ(server.executor.waiting(), 1u);
  stream.session->OnCancelled();
  server.executor.RunAll();
  EXPECT_EQ(backend.calls, 0);
}

// Lets the client leave while it computes.
class CancellingBackend final : public Backend {
 public:
  std::string_view name() const override { return "cancelling"; }
  std::string_view target() const override { return "none"; }
  absl::StatusOr<BatchResult> Run(const Plan&, const UnitBatch&, const std::atomic<bool>& cancelled) override {
    session->OnCancelled();
    saw_it = cancelled;
    return absl::CancelledError("seen");
  }
  StreamSession* session = nullptr;
  bool saw_it = false;
};

TEST(StreamCancelOnce, WhatIsBeingComputedSeesIt) {
  CancellingBackend backend;
  SessionServer server({.backend = &backend});
  TestStream stream(server);
  backend.session = stream.session.get();
  const TensorRequest request = Request(DataType::kFloat32, {64});
  stream.Send(Frames(1, testing::QuantizeInput(request, Bytes(256)), 1000));
  stream.RunAll();
  EXPECT_TRUE(backend.saw_it);
  EXPECT_EQ(stream.io.finished.value().code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(stream.io.frames.empty());
  EXPECT_EQ(server.slots_in_use(), 0u);
}

TEST(StreamCancelOnce, AnsweringACancelledStreamIsHarmless) {
  SessionServer server;
  TestStream stream(server);
  const TensorRequest request = Request(DataType::kFloat32, {64});
  stream.Send(testing::HeaderFrame(1, request));
  stream.Deliver();
  ASSERT_TRUE(stream.io.read_pending && stream.io.write_pending);
  stream.session->OnCancelled();
  stream.session->OnFrame(testing::MakeFrame(1, {}, true));
  stream.session->OnWritten();
  stream.session->OnHalfClose();
  EXPECT_EQ(stream.io.finished.value().code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace quantd::server
