// What is known of a run's input, for those who compute it a second time.
#include <gtest/gtest.h>

#include <random>

#include "tests/support/session_harness.h"

namespace quantd::server {
namespace {

using testing::Request;
using testing::SessionServer;
using testing::TestStream;

// Looks at what it is offered, and leaves it to the CPU.
class InspectingPool final : public DevicePool {
 public:
  absl::Status CheckUsable() const override { return absl::OkStatus(); }
  std::vector<DeviceInfo> Describe() const override { return {}; }
  bool TryCompute(const ComputeTask& task) override {
    Run& run = *task.run;
    ++runs;
    EXPECT_TRUE(GatherInput(run, clock_).ok());
    EXPECT_TRUE(InputIsIntact(run));
    const auto& inputs = run.plan->passes[run.units.pass].inputs;
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (!run.input_crc32c[i].has_value()) continue;
      ++known;
      auto* const byte = const_cast<std::byte*>(run.units.inputs[i]);
      *byte ^= std::byte{1};
      EXPECT_FALSE(InputIsIntact(run));
      *byte ^= std::byte{1};
    }
    return false;
  }

  int runs = 0;
  int known = 0;

 private:
  const RealClock clock_;
};

class StreamInput : public ::testing::Test {
 protected:
  const TensorRequest request_ = Request(DataType::kFloat32, {700'000});
  std::mt19937_64 random_{1};
  const testing::Bytes values_ = testing::RandomValues(random_, request_);
  InspectingPool pool_;
  SessionServer server_{{.limits = testing::SmallLimits(), .devices = &pool_}};
  TestStream stream_{server_};
};

TEST_F(StreamInput, OfFramesThatEndWithUnitsEveryRunsChecksumIsKnown) {
  stream_.Send(testing::Frames(1, testing::QuantizeInput(request_, values_), 96 << 10));
  stream_.RunAll();
  ASSERT_TRUE(stream_.Output(1).summary.has_value());
  EXPECT_GT(pool_.runs, 3);
  EXPECT_EQ(pool_.known, pool_.runs);
}

TEST_F(StreamInput, HoweverFramesAreCutWhatIsKnownIsRight) {
  stream_.Send(testing::RandomFrames(random_, 1, testing::QuantizeInput(request_, values_), 96 << 10));
  stream_.RunAll();
  ASSERT_TRUE(stream_.Output(1).summary.has_value());
  EXPECT_GT(pool_.runs, 3);
}

TEST_F(StreamInput, ABatchThatIsComputedAtOnceIsKnownHoweverFramesAreCut) {
  stream_.Send(testing::RandomFrames(random_, 1, testing::QuantizeInput(request_, values_), 96 << 10));
  while (stream_.Deliver()) {  // the first batch is whole before the first run comes back
  }
  stream_.RunAll();
  EXPECT_GT(pool_.known, 0);
}

}  // namespace
}  // namespace quantd::server
