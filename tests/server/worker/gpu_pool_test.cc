#include "server/worker/gpu_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <span>
#include <thread>

#include "absl/synchronization/mutex.h"
#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "tests/support/worker_harness.h"

namespace quantd::server {
namespace {

using testing::kPatience;
using testing::SlotBatch;

// A batch as a session hands it over, with a CPU thread of its own.
class Task {
 public:
  Task(SlotBatch& batch, DevicePolicy policy) : batch_(batch) {
    run_->plan = std::make_shared<const Plan>(batch.plan);
    run_->cancelled = std::shared_ptr<const std::atomic<bool>>(std::shared_ptr<void>(), &batch.cancelled);
    run_->units = batch.units;
    run_->input_crc32c[0] = batch.input_crc32c();
    run_->piece_bytes_max = 1 << 20;
    task_ = {.run = run_, .policy = policy};
    task_.done = [this] { Finish(); };
    task_.compute_on_cpu = [this] {
      cpu_ = std::thread([this] {
        Compute(*run_, *MakeCpuBackend(), clock_);
        Finish();
      });
    };
  }
  ~Task() {
    if (cpu_.joinable()) cpu_.join();
  }

  // "gpu", "cpu", or the reason why there is no result.
  std::string RunOn(GpuPool& pool) {
    if (!pool.TryCompute(task_)) return "not for a gpu";
    return Await();
  }
  bool Begin(GpuPool& pool) { return pool.TryCompute(task_); }
  std::string Await() {
    {
      absl::MutexLock lock(&mutex_);
      EXPECT_TRUE(mutex_.AwaitWithTimeout(absl::Condition(&done_), kPatience));
    }
    if (!run_->status.ok()) return DetailsOf(run_->status).reason;
    EXPECT_EQ(batch_.Outputs(), batch_.Expected());
    return std::string(run_->device);
  }
  Run& run() { return *run_; }
  // Its input comes from a frame; the slot has nothing yet. Returns the frame's piece.
  InputPiece& DeferInput() {
    auto* const slot = const_cast<std::byte*>(run_->units.inputs[0]);
    const std::span<std::byte> input(slot, batch_.plan.passes[0].inputs[0].bytes);
    frame_.assign(input.begin(), input.end());
    std::fill(input.begin(), input.end(), std::byte{0});
    const InputPiece piece{"values", 0, static_cast<uint32_t>(input.size()), batch_.input_crc32c()};
    run_->pending.push_back({0, slot, input.size(), {frame_}, nullptr, piece});
    run_->input_crc32c[0] = 0;  // of nothing
    return *run_->pending[0].checked;
  }

 private:
  void Finish() {
    absl::MutexLock lock(&mutex_);
    done_ = true;
  }

  SlotBatch& batch_;
  testing::Bytes frame_;
  const RealClock clock_;
  const std::shared_ptr<Run> run_ = std::make_shared<Run>();
  ComputeTask task_;
  absl::Mutex mutex_;  // and no absl::Notification, whose order ThreadSanitizer does not see
  bool done_ = false;  // guarded by mutex_
  std::thread cpu_;
};

class Pool : public ::testing::Test {
 protected:
  // One worker for each list of faults.
  GpuPool& Make(const std::vector<std::vector<std::string>>& faults, GpuPoolOptions options = {.min_batch_bytes = 1}) {
    std::vector<std::unique_ptr<GpuWorker>> workers;
    for (const auto& of_one : faults) {
      workers.push_back(harness_.MakeWorker(
          of_one, {.device = "GPU-" + std::to_string(workers.size()), .restart = {.losses_max = 1}}));
      workers_.push_back(workers.back().get());
    }
    pool_ = std::make_unique<GpuPool>(options, std::move(workers), harness_.clock, harness_.logger);
    return *pool_;
  }
  GpuPool& MakeServing(const std::vector<std::vector<std::string>>& faults,
                       GpuPoolOptions options = {.min_batch_bytes = 1}) {
    Make(faults, options);
    for (GpuWorker* worker : workers_) EXPECT_TRUE(worker->AwaitState(WorkerState::kServing, kPatience));
    return *pool_;
  }
  std::string Run(DevicePolicy policy) {
    SlotBatch batch(*harness_.arena);
    return Task(batch, policy).RunOn(*pool_);
  }

  testing::WorkerHarness harness_;
  std::vector<GpuWorker*> workers_;
  std::unique_ptr<GpuPool> pool_;
};

TEST_F(Pool, ComputesOnTheGpuUnlessTheCallerWantsTheCpu) {
  MakeServing({{"none"}});
  EXPECT_EQ(Run(DevicePolicy::kAuto), "gpu");
  EXPECT_EQ(Run(DevicePolicy::kGpu), "gpu");
  EXPECT_EQ(Run(DevicePolicy::kCpu), "not for a gpu");
}

TEST_F(Pool, LeavesSmallBatchesToTheCpu) {
  MakeServing({{"none"}}, {.min_batch_bytes = 64 * 512 * 4});
  EXPECT_EQ(Run(DevicePolicy::kAuto), "gpu");
  pool_.reset();
  workers_.clear();
  MakeServing({{"none"}}, {.min_batch_bytes = 64 * 512 * 4 + 1});
  EXPECT_EQ(Run(DevicePolicy::kAuto), "not for a gpu");
  EXPECT_EQ(Run(DevicePolicy::kGpu), "gpu");
}

TEST_F(Pool, LeavesErrorMetricsToTheCpu) {
  MakeServing({{"none"}});
  SlotBatch batch(*harness_.arena);
  batch.units.error_metrics = true;
  EXPECT_EQ(Task(batch, DevicePolicy::kGpu).RunOn(*pool_), "not for a gpu");
}

TEST_F(Pool, LeavesEverythingToTheCpuWhileNoGpuServes) {
  Make({{"exit"}});
  EXPECT_TRUE(workers_[0]->AwaitState(WorkerState::kLost, kPatience));
  EXPECT_EQ(Run(DevicePolicy::kAuto), "not for a gpu");
}

TEST_F(Pool, ABatchWhoseGpuDiesIsComputedOnTheCpu) {
  for (const std::string fault : {"crash", "sticky", "out-of-memory"}) {
    pool_.reset();
    workers_.clear();
    MakeServing({{fault}});
    EXPECT_EQ(Run(DevicePolicy::kAuto), "cpu") << fault;
  }
}

TEST_F(Pool, ABatchWhoseInputIsStillInFramesIsGatheredFirst) {
  for (const std::string fault : {"none", "crash"}) {
    pool_.reset();
    workers_.clear();
    MakeServing({{fault}});
    SlotBatch batch(*harness_.arena);
    Task task(batch, DevicePolicy::kAuto);
    task.DeferInput();
    EXPECT_EQ(task.RunOn(*pool_), fault == "none" ? "gpu" : "cpu");
  }
}

TEST_F(Pool, ABatchWhoseFramesAreDamagedIsComputedNowhere) {
  for (const DevicePolicy policy : {DevicePolicy::kAuto, DevicePolicy::kGpu}) {
    pool_.reset();
    workers_.clear();
    MakeServing({{"none"}});
    SlotBatch batch(*harness_.arena);
    Task task(batch, policy);
    *task.DeferInput().crc32c ^= 1;
    EXPECT_EQ(task.RunOn(*pool_), reason::kChecksumMismatch);
  }
}

TEST_F(Pool, ABatchWhoseInputItsWorkerHasDamagedIsComputedNowhere) {
  for (const DevicePolicy policy : {DevicePolicy::kAuto, DevicePolicy::kGpu}) {
    pool_.reset();
    workers_.clear();
    MakeServing({{"scribble"}, {"scribble"}});
    EXPECT_EQ(Run(policy), reason::kGpuLost);
    EXPECT_FALSE(harness_.logger.AwaitLine("written to its input").empty());
  }
}

TEST_F(Pool, ABatchThatMustBeOnAGpuIsTriedOnAnotherOne) {
  MakeServing({{"crash"}, {"none"}});
  SlotBatch first(*harness_.arena);
  SlotBatch second(*harness_.arena);
  Task one(first, DevicePolicy::kGpu);
  Task two(second, DevicePolicy::kGpu);
  ASSERT_TRUE(one.Begin(*pool_));
  ASSERT_TRUE(two.Begin(*pool_));
  EXPECT_EQ(one.Await(), "gpu");
  EXPECT_EQ(two.Await(), "gpu");
}

TEST_F(Pool, ABatchThatMustBeOnAGpuSaysWhenMemoryIsShort) {
  MakeServing({{"out-of-memory"}});
  EXPECT_EQ(Run(DevicePolicy::kGpu), reason::kGpuMemory);
}

TEST_F(Pool, ABatchThatMustBeOnAGpuWaitsForOne) {
  Make({{"none"}});
  EXPECT_EQ(Run(DevicePolicy::kGpu), "gpu");
}

TEST_F(Pool, ABatchThatMustBeOnAGpuDoesNotWaitForEver) {
  Make({{"no-memory"}});
  SlotBatch batch(*harness_.arena);
  Task task(batch, DevicePolicy::kGpu);
  ASSERT_TRUE(task.Begin(*pool_));
  EXPECT_FALSE(harness_.logger.AwaitLine("gpu worker lost").empty());
  std::thread time([&] {
    while (!harness_.logger.CountLines("the end")) harness_.clock.Advance(absl::Seconds(1));
  });
  EXPECT_EQ(task.Await(), reason::kGpuLost);
  harness_.logger.Write(LogLevel::kInfo, "the end");
  time.join();
}

TEST_F(Pool, WaitingForAGpuCanBeCancelled) {
  Make({{"exit"}});
  EXPECT_TRUE(workers_[0]->AwaitState(WorkerState::kLost, kPatience));
  SlotBatch batch(*harness_.arena);
  Task task(batch, DevicePolicy::kGpu);
  ASSERT_TRUE(task.Begin(*pool_));
  batch.cancelled = true;
  task.Await();
  EXPECT_EQ(task.run().status.code(), absl::StatusCode::kCancelled);
}

TEST_F(Pool, HasNoGpuAnyMoreWhenAllAreQuarantined) {
  Make({{"exit"}});
  EXPECT_TRUE(pool_->CheckUsable().ok());
  while (!workers_[0]->AwaitState(WorkerState::kQuarantined, absl::Milliseconds(1))) {
    harness_.clock.Advance(absl::Minutes(1));
    workers_[0]->Wake();
  }
  EXPECT_EQ(DetailsOf(pool_->CheckUsable()).reason, reason::kNoGpu);
  EXPECT_EQ(Run(DevicePolicy::kGpu), reason::kNoGpu);
  EXPECT_EQ(Run(DevicePolicy::kAuto), "not for a gpu");
  EXPECT_EQ(pool_->Describe().at(0).state, "quarantined");
  EXPECT_FALSE(pool_->AwaitServing(kPatience));
}

TEST_F(Pool, TwoGpusShareTheLoad) {
  MakeServing({{"slow-to-cancel"}, {"slow-to-cancel"}}, {.units_in_flight_max = 2, .min_batch_bytes = 1});
  std::vector<std::unique_ptr<SlotBatch>> batches;
  std::vector<std::unique_ptr<Task>> tasks;
  for (int i = 0; i < 4; ++i) {
    batches.push_back(std::make_unique<SlotBatch>(*harness_.arena));
    tasks.push_back(std::make_unique<Task>(*batches.back(), DevicePolicy::kAuto));
    ASSERT_TRUE(tasks.back()->Begin(*pool_));
  }
  EXPECT_TRUE(workers_[0]->AwaitUnderWay(2, kPatience));
  EXPECT_TRUE(workers_[1]->AwaitUnderWay(2, kPatience));
  for (auto& batch : batches) batch->cancelled = true;
  for (auto& task : tasks) task->Await();
}

TEST_F(Pool, OverflowsToTheCpuWhenTheGpuHasItsFill) {
  MakeServing({{"slow-to-cancel"}}, {.units_in_flight_max = 2, .min_batch_bytes = 1});
  std::vector<std::unique_ptr<SlotBatch>> batches;
  std::vector<std::unique_ptr<Task>> tasks;
  for (int i = 0; i < 4; ++i) {
    batches.push_back(std::make_unique<SlotBatch>(*harness_.arena));
    tasks.push_back(std::make_unique<Task>(*batches.back(), DevicePolicy::kAuto));
    ASSERT_TRUE(tasks.back()->Begin(*pool_)) << "two are computed and two wait";
  }
  EXPECT_EQ(Run(DevicePolicy::kAuto), "not for a gpu");
  for (auto& batch : batches) batch->cancelled = true;
  for (auto& task : tasks) task->Await();
}

TEST_F(Pool, KeepsToItsCopyRate) {
  constexpr uint64_t kBatchBytes = 64 * 512 * 4;
  MakeServing({{"none"}}, {.min_batch_bytes = 1, .copy_bytes_per_second_max = 2 * kBatchBytes});
  EXPECT_EQ(Run(DevicePolicy::kAuto), "gpu");
  EXPECT_EQ(Run(DevicePolicy::kAuto), "gpu");
  EXPECT_EQ(Run(DevicePolicy::kAuto), "not for a gpu");
  harness_.clock.Advance(absl::Milliseconds(500));
  EXPECT_EQ(Run(DevicePolicy::kAuto), "gpu");
}

TEST_F(Pool, KeepsToItsPartOfTheTime) {
  MakeServing({{"slow-to-cancel"}}, {.units_in_flight_max = 1, .min_batch_bytes = 1, .duty_percent_max = 50});
  SlotBatch batch(*harness_.arena);
  Task task(batch, DevicePolicy::kAuto);
  ASSERT_TRUE(task.Begin(*pool_));
  ASSERT_TRUE(workers_[0]->AwaitUnderWay(1, kPatience));
  harness_.clock.Advance(absl::Seconds(2));
  batch.cancelled = true;
  task.Await();
  EXPECT_EQ(Run(DevicePolicy::kAuto), "not for a gpu")
      << "it has worked for two seconds, and half a second was its part";
  SlotBatch next(*harness_.arena);
  Task after(next, DevicePolicy::kAuto);
  absl::Duration waited;
  for (; !after.Begin(*pool_); waited += absl::Milliseconds(1)) harness_.clock.Advance(absl::Milliseconds(1));
  EXPECT_GE(waited, absl::Seconds(1));
  next.cancelled = true;
  after.Await();
}

// As a session hands over the batches of one tensor that is larger than a slot.
TEST_F(Pool, TheBatchesOfOneTensorAreComputedOnSeveralGpus) {
  MakeServing({{"slow-to-cancel"}, {"slow-to-cancel"}}, {.units_in_flight_max = 2, .min_batch_bytes = 1});
  std::vector<std::unique_ptr<SlotBatch>> batches;
  std::vector<std::unique_ptr<Task>> tasks;
  for (int i = 0; i < 4; ++i) {
    batches.push_back(std::make_unique<SlotBatch>(*harness_.arena));
    tasks.push_back(std::make_unique<Task>(*batches.back(), DevicePolicy::kGpu));
    ASSERT_TRUE(tasks.back()->Begin(*pool_));
  }
  for (GpuWorker* worker : workers_) EXPECT_TRUE(worker->AwaitUnderWay(2, kPatience));
  for (auto& batch : batches) batch->cancelled = true;
  for (auto& task : tasks) task->Await();
}

TEST_F(Pool, StartsAnIdleGpuWithWorkThatTheCpuDoesMeanwhile) {
  MakeServing({{"none"}});
  harness_.clock.Advance(absl::Minutes(5));
  workers_[0]->Wake();
  EXPECT_TRUE(workers_[0]->AwaitState(WorkerState::kIdle, kPatience));
  EXPECT_EQ(Run(DevicePolicy::kAuto), "not for a gpu");
  EXPECT_TRUE(workers_[0]->AwaitState(WorkerState::kServing, kPatience));
  EXPECT_EQ(Run(DevicePolicy::kAuto), "gpu");
}

TEST_F(Pool, CountsWhatItsGpusDidAndWhatWasDoneAgain) {
  MakeServing({{"crash:3", "none"}});
  for (int i = 0; i < 2; ++i) EXPECT_EQ(Run(DevicePolicy::kAuto), "gpu");
  EXPECT_EQ(Run(DevicePolicy::kAuto), "cpu");
  EXPECT_FALSE(harness_.logger.AwaitLine("gpu worker lost").empty());
  const DeviceInfo info = pool_->Describe().at(0);
  EXPECT_EQ(info.batches, 2u);
  EXPECT_EQ(info.value_bytes, 2u * 64 * 512 * 4);
  EXPECT_EQ(info.losses, 1u);
  EXPECT_EQ(info.replays, 1u);
}

TEST_F(Pool, DescribesItsGpus) {
  MakeServing({{"none"}, {"none"}});
  const std::vector<DeviceInfo> infos = pool_->Describe();
  ASSERT_EQ(infos.size(), 2u);
  EXPECT_EQ(infos[1].name, "GPU-1");
  EXPECT_EQ(infos[1].target, "fake_90");
  EXPECT_EQ(infos[1].state, "serving");
}

}  // namespace
}  // namespace quantd::server
