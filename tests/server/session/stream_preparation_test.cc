// What a header asks for that must be computed first: it takes its turn, holds nothing else up, and can be cancelled.
#include <gtest/gtest.h>

#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "server/session/tensor_job.h"
#include "tests/support/session_harness.h"

namespace quantd::server {
namespace {

using testing::Bytes;
using testing::BytesOf;
using testing::Request;
using testing::SessionServer;
using testing::SessionServerOptions;
using testing::TestStream;

constexpr uint64_t kElements = 100'000;
constexpr float kAmax = 2.5f;

class StreamPreparation : public ::testing::Test {
 protected:
  StreamPreparation() {
    SessionServerOptions options{.limits = testing::SmallLimits()};
    options.start_job = [this](const TensorRequest& request) {
      return TensorJob::Start(request, Direction::kQuantize,
                              {server_->options.limits, server_->plans, server_->spool_budget, server_->clock}, {},
                              preparation_);
    };
    server_.emplace(std::move(options));
    stream_.emplace(*server_);
  }

  // One scale for the tensor, whose amax is to be found: 0 holds its place.
  static TensorRequest RequestWith(float amax) {
    TensorRequest request = Request(DataType::kFloat32, {kElements}, "int8", {{"grouping", "tensor"}});
    request.known.amax = amax;
    return request;
  }

  void SendAll(const TensorRequest& request) {
    stream_->Send(testing::Frames(1, testing::QuantizeInput(request, values_), 50'000));
  }
  // Everything but computing.
  void Exchange() {
    while (stream_->Deliver() || stream_->TakeWritten()) {
    }
  }

  Preparation preparation_{.compute = [this](const std::atomic<bool>& cancelled) -> absl::StatusOr<Prepared> {
                             seen_cancelled_ = cancelled.load();
                             if (!outcome_.ok()) return outcome_;
                             Prepared prepared;
                             prepared.known.amax = kAmax;
                             return prepared;
                           },
                           .cost_bytes = 1 << 20,
                           .makes = {}};
  absl::Status outcome_;
  std::optional<bool> seen_cancelled_;
  const Bytes values_ = BytesOf(std::vector<float>(kElements, 1.25f));
  std::optional<SessionServer> server_;
  std::optional<TestStream> stream_;
};

TEST_F(StreamPreparation, TheAcceptComesBeforeItAndNothingElseIsComputedBefore) {
  SendAll(RequestWith(0));
  Exchange();
  EXPECT_TRUE(stream_->Output(1).accept.has_value());
  EXPECT_EQ(server_->executor.waiting(), 1u);
  EXPECT_FALSE(seen_cancelled_.has_value());
}

TEST_F(StreamPreparation, ItsStatisticIsUsedForWhatHadComeBefore) {
  SendAll(RequestWith(0));
  Exchange();
  stream_->RunAll();
  const auto output = stream_->Output(1);
  ASSERT_TRUE(output.summary.has_value()) << output.error;
  EXPECT_EQ(output.segments, testing::Expected(Direction::kQuantize, RequestWith(kAmax), {{"values", values_}}));
}

TEST_F(StreamPreparation, ATensorWithoutElementsWaitsForItToo) {
  TensorRequest request = RequestWith(0);
  request.shape = {0};
  stream_->Send(testing::Frames(1, testing::QuantizeInput(request, {}), 50'000));
  Exchange();
  EXPECT_FALSE(stream_->Output(1).summary.has_value());
  stream_->RunAll();
  ASSERT_TRUE(stream_->Output(1).summary.has_value());
  EXPECT_EQ(testing::ValuesOf<float>(stream_->Output(1).segments.at("scales")).front(), kAmax / 127);
}

TEST_F(StreamPreparation, ItsErrorIsTheTensors) {
  outcome_ = InvalidArgument(reason::kInvalidRangeRequest, "no such range");
  SendAll(RequestWith(0));
  stream_->RunAll();
  EXPECT_EQ(DetailsOf(stream_->Output(1).error).reason, reason::kInvalidRangeRequest);
}

TEST_F(StreamPreparation, AStreamThatIsCancelledMeanwhileDoesNotComputeIt) {
  SendAll(RequestWith(0));
  Exchange();
  stream_->session->OnCancelled();
  server_->executor.RunAll();
  EXPECT_FALSE(seen_cancelled_.has_value());
  EXPECT_EQ(server_->slots_in_use(), 0u);
}

TEST_F(StreamPreparation, AStreamThatWaitsForItHasNotStalled) {
  stream_->Send(testing::HeaderFrame(1, RequestWith(0)));
  Exchange();
  server_->clock.Advance(10 * server_->options.limits.stall_max);
  stream_->session->CheckStall();
  EXPECT_FALSE(stream_->io.finished.has_value());
}

}  // namespace
}  // namespace quantd::server
