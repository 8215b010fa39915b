#include "server/lifecycle/gpu_setup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/support/worker_harness.h"

namespace quantd::server {
namespace {

using ::testing::HasSubstr;

class GpuSetup : public ::testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<DevicePool>> Make(GpuMode mode, const std::vector<std::string>& gpus,
                                                   const std::string& worker = FAKE_GPU_WORKER) {
    return MakeGpuPool({.mode = mode, .worker_path = worker}, gpus, *harness_.arena, clock_, harness_.logger, health_);
  }

  testing::WorkerHarness harness_;
  const RealClock clock_;
  DeviceHealth health_;
};

TEST_F(GpuSetup, ServesWithoutAGpuUnlessOneIsRequired) {
  const auto pool = Make(GpuMode::kAuto, {});
  ASSERT_TRUE(pool.ok());
  EXPECT_EQ(*pool, nullptr);
  EXPECT_THAT(std::string(Make(GpuMode::kRequired, {}).status().message()), HasSubstr("sees no GPU"));
  EXPECT_EQ(harness_.logger.CountLines(""), 0u);
}

TEST_F(GpuSetup, SaysThatTheWorkersProgramIsMissing) {
  const auto pool = Make(GpuMode::kAuto, {"GPU-1"}, "/nonexistent/worker");
  ASSERT_TRUE(pool.ok());
  EXPECT_EQ(*pool, nullptr);
  EXPECT_THAT(harness_.logger.AwaitLine("serving without gpu"), HasSubstr("/nonexistent/worker"));
  EXPECT_THAT(std::string(Make(GpuMode::kRequired, {"GPU-1"}, "/nonexistent/worker").status().message()),
              HasSubstr("gpu.worker_path"));
}

TEST_F(GpuSetup, TheWorkersProgramLiesBesideThisOneUnlessSaidOtherwise) {
  const auto here = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  EXPECT_EQ(WorkerPath({}), here / "quantd-gpu-worker");
  EXPECT_EQ(WorkerPath({.worker_path = "/opt/worker"}), "/opt/worker");
}

TEST_F(GpuSetup, LeavesGpusAloneWhenTheyAreOff) {
  const auto pool = Make(GpuMode::kOff, {"GPU-1"});
  ASSERT_TRUE(pool.ok());
  EXPECT_EQ(*pool, nullptr);
}

TEST_F(GpuSetup, HasAWorkerForEachGpuAndWaitsForOneThatIsRequired) {
  const auto pool = Make(GpuMode::kRequired, {"GPU-1", "GPU-2"});
  ASSERT_TRUE(pool.ok()) << pool.status();
  const auto infos = (*pool)->Describe();
  ASSERT_EQ(infos.size(), 2u);
  EXPECT_EQ(infos[0].name, "GPU-1");
  EXPECT_TRUE(infos[0].state == "serving" || infos[1].state == "serving");
}

TEST_F(GpuSetup, TheHealthOfAGpuIsThatOfItsWorker) {
  absl::Mutex mutex;
  std::map<std::string, bool> heard;
  health_.Listen([&](const std::string& service, bool serving) {
    absl::MutexLock lock(&mutex);
    heard[service] = serving;
  });
  const auto pool = Make(GpuMode::kRequired, {"GPU-1"});
  ASSERT_TRUE(pool.ok()) << pool.status();
  absl::MutexLock lock(&mutex);
  const auto serves = [&] { return heard["quantd.gpu.GPU-1"]; };
  EXPECT_TRUE(mutex.AwaitWithTimeout(absl::Condition(&serves), testing::kPatience));
}

}  // namespace
}  // namespace quantd::server
