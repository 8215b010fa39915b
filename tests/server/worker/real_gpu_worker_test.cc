// quantd-gpu-worker itself, where it was built and there is a GPU; skipped elsewhere. It is looked for beside this
// program, so that both can be carried to a machine without a compiler.
#include <gtest/gtest.h>
#include <csignal>

#include <cstdlib>
#include <filesystem>
#include <thread>

#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "kernels/base/status_macros.h"
#include "server/worker/gpu_discovery.h"
#include "server/worker/gpu_worker.h"
#include "tests/support/gpu_memory_hog.h"
#include "tests/support/worker_harness.h"

namespace quantd::server {
namespace {

using testing::kPatience;
using testing::SlotBatch;

class RealGpuWorker : public ::testing::Test {
 protected:
  void SetUp() override {
    program_ = (std::filesystem::read_symlink("/proc/self/exe").parent_path() / "quantd-gpu-worker").string();
    const std::vector<std::string> gpus = ListNvidiaGpus();
    if (!std::filesystem::exists(program_) || gpus.empty()) GTEST_SKIP() << "no GPU, or no quantd-gpu-worker";
    gpu_ = gpus.front();
  }
  std::unique_ptr<GpuWorker> Serving(GpuWorkerOptions options = {}) {
    options.device = gpu_;
    options.restart.first_delay = absl::Milliseconds(1);
    auto worker = std::make_unique<GpuWorker>(
        options, [this] { return Launch(); }, testing::SharedSlotsOf(*harness_.arena), clock_, harness_.logger);
    worker->Start();
    EXPECT_TRUE(worker->AwaitState(WorkerState::kServing, kPatience)) << harness_.logger.AwaitLine("gpu worker lost");
    return worker;
  }
  void ExpectServes(GpuWorker& worker) {
    ASSERT_TRUE(worker.AwaitState(WorkerState::kServing, kPatience));
    SlotBatch batch(*harness_.arena);
    const auto result = batch.RunOn(worker);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_TRUE(batch.Outputs() == batch.Expected());
  }
  std::string Loss(const absl::StatusOr<BatchResult>& result) const { return DetailsOf(result.status()).reason; }

  absl::StatusOr<LaunchedWorker> Launch() const {
    QUANTD_ASSIGN_OR_RETURN(auto sockets, MessageSocket::MakePair());
    const char* const libraries = std::getenv("LD_LIBRARY_PATH");  // where they were carried beside the programs
    QUANTD_ASSIGN_OR_RETURN(
        auto process,
        ChildProcess::Spawn({.executable = program_,
                             .environment = {"CUDA_VISIBLE_DEVICES=" + gpu_,
                                             std::string("LD_LIBRARY_PATH=") + (libraries == nullptr ? "" : libraries)},
                             .socket = sockets.second.get()}));
    return LaunchedWorker{std::move(process), std::move(sockets.first)};
  }

  testing::WorkerHarness harness_;
  const RealClock clock_;
  std::string program_;
  std::string gpu_;
};

TEST_F(RealGpuWorker, HasTheBytesOfTheCpuForEveryPreset) {
  const auto worker = Serving();
  for (const PresetInfo& preset : AllPresets()) {
    SchemeRequest scheme{preset.name, {}, 0};
    const auto resolved = ResolveScheme(scheme);
    ASSERT_TRUE(resolved.ok());
    // Those that need two passes without a given statistic are for the streams.
    if (resolved->grouping == Grouping::kTensor || resolved->scale_dtype == ScaleDtype::kE4m3) continue;
    SlotBatch batch(*harness_.arena, scheme);
    const auto result = batch.RunOn(*worker);
    ASSERT_TRUE(result.ok()) << preset.name << ": " << result.status();
    EXPECT_TRUE(batch.Outputs() == batch.Expected()) << preset.name;
  }
}

TEST_F(RealGpuWorker, IsReplacedAfterSigkill) {
  const auto worker = Serving();
  ExpectServes(*worker);
  kill(worker->pid(), SIGKILL);
  ASSERT_TRUE(worker->AwaitState(WorkerState::kLost, kPatience));
  ExpectServes(*worker);
}

TEST_F(RealGpuWorker, IsKilledWhenItIsStoppedAndTheBatchComesBack) {
  const auto worker = Serving({.unit_deadline = absl::Seconds(1)});
  ExpectServes(*worker);
  kill(worker->pid(), SIGSTOP);
  SlotBatch batch(*harness_.arena);
  EXPECT_EQ(Loss(batch.RunOn(*worker)), reason::kGpuLost);
  EXPECT_TRUE(batch.RunOn(*MakeCpuBackend()).ok());
  EXPECT_TRUE(batch.Outputs() == batch.Expected());
  ExpectServes(*worker);
}

TEST_F(RealGpuWorker, ExitsWhenItIsIdleAndComesBack) {
  const auto worker = Serving({.idle_trim = absl::Milliseconds(50), .idle_exit = absl::Milliseconds(500)});
  ASSERT_TRUE(worker->AwaitState(WorkerState::kIdle, kPatience));
  EXPECT_EQ(worker->pid(), -1);
  worker->Start();
  ExpectServes(*worker);
}

// Slots of batches that need memory of the device, and batches in them.
class RealGpuWorkerWithLargeBatches : public RealGpuWorker {
 protected:
  static constexpr uint64_t kRows = 8192;  // 16 MiB of values
  static constexpr uint64_t kMib = 1 << 20;

  void SetUp() override {
    RealGpuWorker::SetUp();
    arena_ = SlotArena::Create(24 * kMib, 4, [](const std::function<void()>&) {}).value();
  }
  std::unique_ptr<GpuWorker> ServingLarge(uint64_t memory_budget_bytes) {
    auto worker = std::make_unique<GpuWorker>(
        GpuWorkerOptions{.device = gpu_, .memory_budget_bytes = memory_budget_bytes}, [this] { return Launch(); },
        testing::SharedSlotsOf(*arena_), clock_, harness_.logger);
    worker->Start();
    EXPECT_TRUE(worker->AwaitState(WorkerState::kServing, kPatience)) << harness_.logger.AwaitLine("gpu worker lost");
    return worker;
  }
  uint64_t UsedBytes() const { return UsedGpuBytes(gpu_).value(); }

  std::shared_ptr<SlotArena> arena_;
};

TEST_F(RealGpuWorkerWithLargeBatches, KeepsToItsBudget) {
  constexpr uint64_t kBudget = 768 * kMib;
  const uint64_t before = UsedBytes();
  const auto worker = ServingLarge(kBudget);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      SlotBatch batch(*arena_, {"bnb-nf4"}, kRows);
      for (int round = 0; round < 20; ++round) {
        const auto result = batch.RunOn(*worker);
        ASSERT_TRUE(result.ok()) << result.status();
        EXPECT_LE(UsedBytes() - before, kBudget);
      }
      EXPECT_TRUE(batch.Outputs() == batch.Expected());
    });
  }
  for (std::thread& thread : threads) thread.join();
  RecordProperty("used_mib", static_cast<int>((UsedBytes() - before) / kMib));
  RecordProperty("units_in_flight", static_cast<int>(worker->units_in_flight()));
}

// tools/test_gpu.sh does the same to a stream.
TEST_F(RealGpuWorkerWithLargeBatches, ServesAgainWhenOthersHaveGivenBackTheMemoryTheyHadTaken) {
  const auto worker = ServingLarge(2048 * kMib);
  SlotBatch batch(*arena_, {"bnb-nf4"}, kRows);
  {
    const testing::GpuMemoryHog hog;
    const auto result = batch.RunOn(*worker);
    EXPECT_EQ(Loss(result), reason::kGpuMemory) << result.status();
    EXPECT_EQ(worker->state(), WorkerState::kServing);
    EXPECT_TRUE(batch.RunOn(*MakeCpuBackend()).ok());
    EXPECT_TRUE(batch.Outputs() == batch.Expected());
  }
  const auto result = batch.RunOn(*worker);
  EXPECT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(batch.Outputs() == batch.Expected());
}

TEST_F(RealGpuWorker, SaysThatItsBudgetHoldsNoSlot) {
  GpuWorker worker(
      {.device = gpu_, .memory_budget_bytes = 1 << 20}, [this] { return Launch(); },
      testing::SharedSlotsOf(*harness_.arena), clock_, harness_.logger);
  worker.Start();
  EXPECT_TRUE(worker.AwaitState(WorkerState::kQuarantined, kPatience));
  EXPECT_NE(harness_.logger.AwaitLine("gpu worker quarantined").find("CUDA's own memory takes"), std::string::npos);
}

}  // namespace
}  // namespace quantd::server
