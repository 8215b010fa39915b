// Supervision, with real processes. Time stands still unless a test moves it.
#include "server/worker/gpu_worker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <thread>

#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "tests/support/worker_harness.h"

namespace quantd::server {
namespace {

using ::testing::HasSubstr;
using testing::kPatience;
using testing::SlotBatch;

constexpr absl::Duration kRestart = absl::Seconds(1);

GpuWorkerOptions Options() {
  return {.device = "GPU-fake", .restart = {.first_delay = kRestart, .delay_max = kRestart, .losses_max = 3}};
}

class Supervision : public ::testing::Test {
 protected:
  void Advance(GpuWorker& worker, absl::Duration duration) {
    harness_.clock.Advance(duration);
    worker.Wake();
  }
  // Until that state. Time stands still for a process that starts, however long it takes.
  void AdvanceRestarts(GpuWorker& worker, WorkerState until) {
    while (!worker.AwaitState(until, absl::Milliseconds(1))) {
      if (worker.state() == WorkerState::kLost) Advance(worker, kRestart);
    }
  }
  // The batch is with the process: what happens from now on happens to it.
  std::thread RunBeside(GpuWorker& worker, SlotBatch& batch, absl::StatusOr<BatchResult>& result) {
    std::thread thread([&] { result = batch.RunOn(worker); });
    EXPECT_TRUE(worker.AwaitUnderWay(1, kPatience));
    return thread;
  }
  static std::string ReasonOf(const absl::StatusOr<BatchResult>& result) { return DetailsOf(result.status()).reason; }
  void ExpectServes(GpuWorker& worker) {
    EXPECT_TRUE(worker.AwaitState(WorkerState::kServing, kPatience));
    SlotBatch batch(*harness_.arena);
    const auto result = batch.RunOn(worker);
    EXPECT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(batch.Outputs(), batch.Expected());
  }
  // Lost, and then replaced.
  void ExpectIsReplaced(GpuWorker& worker) {
    EXPECT_TRUE(worker.AwaitState(WorkerState::kLost, kPatience));
    EXPECT_FALSE(harness_.logger.AwaitLine("gpu worker lost").empty());
    Advance(worker, kRestart);
    ExpectServes(worker);
  }

  testing::WorkerHarness harness_;
};

TEST_F(Supervision, AWorkerIsStartedAndComputes) {
  const auto worker = harness_.MakeWorker({"none"}, Options());
  EXPECT_EQ(worker->state(), WorkerState::kIdle);
  EXPECT_EQ(worker->target(), "");
  worker->Start();
  ExpectServes(*worker);
  EXPECT_EQ(worker->name(), "gpu");
  EXPECT_EQ(worker->target(), "fake_90");
  EXPECT_EQ(worker->units_in_flight(), 4u);
}

TEST_F(Supervision, ResultsAreTheCpus) {
  const auto worker = harness_.ServingWorker({"none"}, Options());
  for (const SchemeRequest& scheme :
       {SchemeRequest{"bnb-nf4"}, SchemeRequest{"ct-w4a16-asym"}, SchemeRequest{"mxfp8-e4m3"},
        SchemeRequest{"int8-asym"}, SchemeRequest{"bnb-fp4", {{"block_size", "256"}}}, SchemeRequest{"ggml-q4_0"},
        SchemeRequest{"bf16"}}) {
    SlotBatch batch(*harness_.arena, scheme);
    const auto result = batch.RunOn(*worker);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(batch.Outputs(), batch.Expected()) << scheme.preset;
  }
}

// Eight threads at once, each with a batch of its own, which `batch_of` makes of its number.
template <class BatchOf>
void ExpectThreadsShare(GpuWorker& worker, int rounds, BatchOf batch_of) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      SlotBatch batch = batch_of(i);
      for (int round = 0; round < rounds; ++round) {
        const auto result = batch.RunOn(worker);
        ASSERT_TRUE(result.ok()) << result.status();
      }
      EXPECT_EQ(batch.Outputs(), batch.Expected());
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(Supervision, ManyThreadsShareAWorker) {
  const auto worker = harness_.ServingWorker({"none"}, Options());
  ExpectThreadsShare(*worker, 50, [&](int thread) {
    return SlotBatch(*harness_.arena, {.preset = thread % 2 == 0 ? "bnb-nf4" : "int8"});
  });
}

TEST_F(Supervision, ACrashLosesTheBatchAndTheWorkerIsReplaced) {
  const auto worker = harness_.ServingWorker({"crash", "none"}, Options());
  SlotBatch batch(*harness_.arena);
  EXPECT_EQ(ReasonOf(batch.RunOn(*worker)), reason::kGpuLost);
  // The memory is ours again, and the input as it was.
  EXPECT_TRUE(batch.RunOn(*MakeCpuBackend()).ok());
  EXPECT_EQ(batch.Outputs(), batch.Expected());
  ExpectIsReplaced(*worker);
}

TEST_F(Supervision, AKilledIdleWorkerIsReplaced) {
  const auto worker = harness_.ServingWorker({"none"}, Options());
  kill(worker->pid(), SIGKILL);
  ExpectIsReplaced(*worker);
}

TEST_F(Supervision, AHangIsKilledWhenItsDeadlineIsOver) {
  const auto worker = harness_.ServingWorker({"hang", "none"}, Options());
  SlotBatch batch(*harness_.arena);
  absl::StatusOr<BatchResult> result;
  std::thread running = RunBeside(*worker, batch, result);
  Advance(*worker, absl::Seconds(9));
  EXPECT_EQ(worker->state(), WorkerState::kServing);
  Advance(*worker, absl::Seconds(1));
  running.join();
  EXPECT_EQ(ReasonOf(result), reason::kGpuLost);
  EXPECT_THAT(harness_.logger.AwaitLine("gpu worker lost"), HasSubstr("did not answer"));
  ExpectIsReplaced(*worker);
}

TEST_F(Supervision, AStoppedProcessIsKilledToo) {
  const auto worker = harness_.ServingWorker({"none"}, Options());
  ASSERT_EQ(kill(worker->pid(), SIGSTOP), 0);
  SlotBatch batch(*harness_.arena);
  absl::StatusOr<BatchResult> result;
  std::thread running = RunBeside(*worker, batch, result);
  Advance(*worker, absl::Seconds(10));
  running.join();
  EXPECT_EQ(ReasonOf(result), reason::kGpuLost);
  ExpectIsReplaced(*worker);
}

TEST_F(Supervision, NothingIsTakenFromADeviceThatFailed) {
  const auto worker = harness_.ServingWorker({"sticky", "none"}, Options());
  SlotBatch batch(*harness_.arena);
  EXPECT_EQ(ReasonOf(batch.RunOn(*worker)), reason::kGpuLost);
  EXPECT_THAT(harness_.logger.AwaitLine("gpu worker lost"), HasSubstr("illegal memory access"));
  ExpectIsReplaced(*worker);
}

TEST_F(Supervision, OtherBatchesOfAWorkerInDoubtAreLostToo) {
  const auto worker = harness_.ServingWorker({"sticky:2", "none"}, Options());
  std::vector<std::thread> threads;
  std::atomic<int> lost = 0;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      SlotBatch batch(*harness_.arena);
      const auto result = batch.RunOn(*worker);
      lost += !result.ok();
      EXPECT_TRUE(result.ok() ? batch.Outputs() == batch.Expected() : ReasonOf(result) == reason::kGpuLost);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GE(lost, 3);
  ExpectIsReplaced(*worker);
}

TEST_F(Supervision, MemoryThatIsShortIsTheBatchesAffair) {
  const auto worker = harness_.ServingWorker({"out-of-memory:1"}, Options());
  SlotBatch batch(*harness_.arena);
  EXPECT_EQ(ReasonOf(batch.RunOn(*worker)), reason::kGpuMemory);
  EXPECT_EQ(worker->state(), WorkerState::kServing);
}

TEST_F(Supervision, ACancelledBatchComesBackAsSuch) {
  const auto worker = harness_.ServingWorker({"slow-to-cancel"}, Options());
  SlotBatch batch(*harness_.arena);
  absl::StatusOr<BatchResult> result;
  std::thread running = RunBeside(*worker, batch, result);
  batch.cancelled = true;
  running.join();
  EXPECT_EQ(result.status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(worker->state(), WorkerState::kServing);
}

TEST_F(Supervision, ADeviceThatComputesWrongBytesNeverServes) {
  const auto worker = harness_.MakeWorker({"wrong"}, Options());
  worker->Start();
  EXPECT_THAT(harness_.logger.AwaitLine("gpu worker lost"), HasSubstr("computes wrong bytes"));
  SlotBatch batch(*harness_.arena);
  EXPECT_EQ(ReasonOf(batch.RunOn(*worker)), reason::kGpuLost);
}

TEST_F(Supervision, ADeviceThatBeginsToComputeWrongBytesIsFoundOut) {
  const auto worker = harness_.ServingWorker({"wrong-after:1", "none"}, Options());
  ExpectServes(*worker);
  Advance(*worker, absl::Minutes(1));
  EXPECT_THAT(harness_.logger.AwaitLine("gpu worker lost"), HasSubstr("computes wrong bytes"));
  ExpectIsReplaced(*worker);
}

TEST_F(Supervision, ACrashLoopEndsInQuarantineAndNamesTheRemedy) {
  const auto worker = harness_.MakeWorker({"exit"}, Options());
  worker->Start();
  AdvanceRestarts(*worker, WorkerState::kQuarantined);
  EXPECT_EQ(harness_.logger.CountLines("gpu worker lost"), 3u);
  EXPECT_THAT(harness_.logger.AwaitLine("gpu worker quarantined"), HasSubstr("restart quantd"));
  worker->Start();
  Advance(*worker, absl::Hours(1));
  EXPECT_EQ(worker->state(), WorkerState::kQuarantined);
}

TEST_F(Supervision, MemoryTakenByOthersIsWaitedFor) {
  const auto worker =
      harness_.MakeWorker({"no-memory", "no-memory", "no-memory", "no-memory", "no-memory", "none"}, Options());
  worker->Start();
  AdvanceRestarts(*worker, WorkerState::kServing);
  ExpectServes(*worker);
}

TEST_F(Supervision, AProgramThatIsNotThereIsQuarantinedAtOnce) {
  GpuWorker worker(
      Options(), [] { return absl::NotFoundError("/opt/worker cannot be started"); },
      testing::SharedSlotsOf(*harness_.arena), harness_.clock, harness_.logger);
  worker.Start();
  EXPECT_TRUE(worker.AwaitState(WorkerState::kQuarantined, kPatience));
  EXPECT_THAT(harness_.logger.AwaitLine("quarantined"), HasSubstr("gpu.worker_path"));
}

TEST_F(Supervision, ABudgetThatIsTooSmallEndsItAtOnceAndSaysSo) {
  const auto worker = harness_.MakeWorker({"no-budget"}, Options());
  worker->Start();
  EXPECT_TRUE(worker->AwaitState(WorkerState::kQuarantined, kPatience));
  EXPECT_THAT(harness_.logger.AwaitLine("quarantined"), HasSubstr("raise gpu.memory_budget_bytes"));
}

TEST_F(Supervision, AWorkerThatIsNotReadyInTimeIsKilled) {
  const auto worker = harness_.MakeWorker({"none"}, Options());
  GpuWorker silent(
      Options(),
      []() -> absl::StatusOr<LaunchedWorker> {
        auto ends = MessageSocket::MakePair();
        auto process =
            ChildProcess::Spawn({.executable = "/bin/sleep", .arguments = {"1000"}, .socket = ends->second.get()});
        return LaunchedWorker{*std::move(process), std::move(ends->first)};
      },
      testing::SharedSlotsOf(*harness_.arena), harness_.clock, harness_.logger);
  silent.Start();
  EXPECT_TRUE(silent.AwaitState(WorkerState::kStarting, kPatience));
  Advance(silent, absl::Minutes(1));
  EXPECT_THAT(harness_.logger.AwaitLine("gpu worker lost"), HasSubstr("not ready"));
}

// ---- Batches so small that their sender reads the answer itself ----

TEST_F(Supervision, SmallBatchesAreTheCpus) {
  const auto worker = harness_.ServingWorker({"none"}, Options());
  SlotBatch batch(*harness_.arena, {"bnb-nf4"}, SlotBatch::kRowsOfSmall);
  for (int i = 0; i < 100; ++i) {
    const auto result = batch.RunOn(*worker);
    ASSERT_TRUE(result.ok()) << result.status();
  }
  EXPECT_EQ(batch.Outputs(), batch.Expected());
}

TEST_F(Supervision, SmallAndLargeBatchesShareAWorker) {
  const auto worker = harness_.ServingWorker({"none"}, Options());
  ExpectThreadsShare(*worker, 200, [&](int thread) {
    return SlotBatch(*harness_.arena, {"bnb-nf4"}, thread % 3 == 0 ? SlotBatch::kRows : SlotBatch::kRowsOfSmall);
  });
}

TEST_F(Supervision, ACrashLosesASmallBatchToo) {
  const auto worker = harness_.ServingWorker({"crash", "none"}, Options());
  SlotBatch batch(*harness_.arena, {"bnb-nf4"}, SlotBatch::kRowsOfSmall);
  EXPECT_EQ(ReasonOf(batch.RunOn(*worker)), reason::kGpuLost);
  EXPECT_THAT(harness_.logger.AwaitLine("gpu worker lost"), HasSubstr("code 77"));
  ExpectIsReplaced(*worker);
}

TEST_F(Supervision, AHangOfASmallBatchIsKilledWhenItsDeadlineIsOver) {
  const auto worker = harness_.ServingWorker({"hang", "none"}, Options());
  SlotBatch batch(*harness_.arena, {"bnb-nf4"}, SlotBatch::kRowsOfSmall);
  absl::StatusOr<BatchResult> result;
  std::thread running = RunBeside(*worker, batch, result);
  Advance(*worker, absl::Seconds(10));
  running.join();
  EXPECT_EQ(ReasonOf(result), reason::kGpuLost);
  ExpectIsReplaced(*worker);
}

TEST_F(Supervision, NothingIsTakenFromADeviceThatFailedASmallBatch) {
  const auto worker = harness_.ServingWorker({"sticky", "none"}, Options());
  SlotBatch batch(*harness_.arena, {"bnb-nf4"}, SlotBatch::kRowsOfSmall);
  EXPECT_EQ(ReasonOf(batch.RunOn(*worker)), reason::kGpuLost);
  EXPECT_THAT(harness_.logger.AwaitLine("gpu worker lost"), HasSubstr("illegal memory access"));
  ExpectIsReplaced(*worker);
}

// ---- Without work ----

TEST_F(Supervision, AnIdleWorkerExitsAndComesBackOnDemand) {
  const auto worker = harness_.ServingWorker({"none"}, Options());
  ExpectServes(*worker);
  const pid_t first = worker->pid();
  Advance(*worker, absl::Minutes(5));
  EXPECT_TRUE(worker->AwaitState(WorkerState::kIdle, kPatience));
  EXPECT_EQ(worker->pid(), -1);
  EXPECT_EQ(kill(first, 0), -1) << "it still runs";
  SlotBatch batch(*harness_.arena);
  EXPECT_EQ(ReasonOf(batch.RunOn(*worker)), reason::kGpuLost);
  worker->Start();
  ExpectServes(*worker);
}

TEST_F(Supervision, WorkKeepsAWorkerFromExiting) {
  const auto worker = harness_.ServingWorker({"none"}, Options());
  for (int minute = 0; minute < 10; ++minute) {
    Advance(*worker, absl::Minutes(1));
    ExpectServes(*worker);
    EXPECT_TRUE(worker->AwaitUnderWay(0, kPatience)) << "a probe is not answered";
  }
  EXPECT_EQ(harness_.logger.CountLines("state=serving"), 1u);
}

TEST_F(Supervision, TheWorkerEndsWithItsOwner) {
  auto worker = harness_.ServingWorker({"none"}, Options());
  const pid_t pid = worker->pid();
  worker.reset();
  EXPECT_EQ(kill(pid, 0), -1);
}

}  // namespace
}  // namespace quantd::server
