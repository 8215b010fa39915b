#include "server/worker/gpu_pool.h"

#include <algorithm>
#include <utility>

#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"

namespace quantd::server {
namespace {

// Of DEVICE_POLICY_GPU.
constexpr int kAttemptsMax = 2;
constexpr absl::Duration kWaitForGpuMax = absl::Minutes(1);
constexpr absl::Duration kWaitPoll = absl::Milliseconds(10);

bool FailedOnGpu(const absl::Status& status) {
  const std::string reason = DetailsOf(status).reason;
  return reason == reason::kGpuLost || reason == reason::kGpuMemory;
}

bool MayServe(WorkerState state) { return state != WorkerState::kQuarantined; }

absl::Status NoGpuLeft() {
  return MakeError(absl::StatusCode::kFailedPrecondition, reason::kNoGpu,
                   "every GPU of this server has been given up after faults. Send device_policy AUTO or CPU; the bytes "
                   "are the same.");
}

}  // namespace

GpuPool::GpuPool(const GpuPoolOptions& options, std::vector<std::unique_ptr<GpuWorker>> workers, const Clock& clock,
                 Logger& logger)
    : options_(options),
      clock_(clock),
      logger_(logger),
      copies_(options.copy_bytes_per_second_max),
      threads_(options.units_in_flight_max * kWorkerBatchesPerUnit * static_cast<uint32_t>(workers.size())) {
  for (auto& worker : workers) {
    worker->Start();
    devices_.push_back({.worker = std::move(worker), .duty = DutyCycle(options_.duty_percent_max)});
  }
}

absl::Status GpuPool::CheckUsable() const {
  const bool usable =
      std::any_of(devices_.begin(), devices_.end(), [](const Device& d) { return MayServe(d.worker->state()); });
  return usable ? absl::OkStatus() : NoGpuLeft();
}

std::vector<DeviceInfo> GpuPool::Describe() const {
  std::vector<DeviceInfo> infos;
  infos.reserve(devices_.size());
  for (const Device& device : devices_) {
    const GpuWorkerCounts counts = device.worker->counts();
    absl::MutexLock lock(&mutex_);
    infos.push_back({.name = device.worker->device(),
                     .target = std::string(device.worker->target()),
                     .state = std::string(NameOf(device.worker->state())),
                     .batches = counts.batches,
                     .value_bytes = counts.value_bytes,
                     .losses = counts.losses,
                     .replays = device.replays});
  }
  return infos;
}

bool GpuPool::AwaitServing(absl::Duration timeout) const {
  const absl::Time deadline = clock_.Now() + timeout;
  while (CheckUsable().ok() && clock_.Now() < deadline) {
    for (const Device& device : devices_) {
      if (device.worker->AwaitState(WorkerState::kServing, kWaitPoll)) return true;
    }
  }
  return false;
}

bool GpuPool::TryCompute(const ComputeTask& task) {
  const Run& run = *task.run;
  if (task.policy == DevicePolicy::kCpu || run.units.error_metrics || run.plan->IsForCpuOnly()) return false;
  if (task.policy == DevicePolicy::kGpu) {
    threads_.Submit(task.turn, [this, task] { ComputeOnGpuOnly(task); });
    return true;
  }
  const uint64_t bytes = run.value_bytes();
  if (bytes < options_.min_batch_bytes) return false;
  // One more waits than are computed, so that the GPU does not.
  const std::shared_ptr<Reservation> place = Reserve(bytes, 2 * options_.units_in_flight_max);
  if (place == nullptr) return false;
  threads_.Submit(task.turn, [this, task, place] { ComputeOrLeave(task, *place); });
  return true;
}

std::shared_ptr<GpuPool::Reservation> GpuPool::Reserve(uint64_t bytes, uint32_t units_max) {
  absl::MutexLock lock(&mutex_);
  const absl::Time now = clock_.Now();
  Device* best = nullptr;
  for (Device& device : devices_) {
    const WorkerState state = device.worker->state();
    if (state == WorkerState::kIdle || state == WorkerState::kDraining) device.worker->Start();
    if (state != WorkerState::kServing || device.units >= units_max || !device.duty.MayBegin(now)) continue;
    if (best == nullptr || device.bytes < best->bytes) best = &device;
  }
  if (best == nullptr || !copies_.TryTake(bytes, now)) return nullptr;
  best->duty.Begin(now);
  ++best->units;
  best->bytes += bytes;
  return std::make_shared<Reservation>(*this, *best, bytes);
}

void GpuPool::GiveBack(Device& device, uint64_t bytes) {
  absl::MutexLock lock(&mutex_);
  device.duty.End(clock_.Now());
  --device.units;
  device.bytes -= bytes;
  given_back_.Signal();
}

// The worker maps the slots writable: outputs lie on the same pages.
bool GpuPool::MayBeReplayed(Run& run, const Reservation& place) {
  if (InputIsIntact(run)) {
    absl::MutexLock lock(&mutex_);
    ++place.device().replays;
    return true;
  }
  logger_.Write(LogLevel::kError, "a gpu worker has written to its input", {{"device", place.worker().device()}});
  run.status = MakeError(absl::StatusCode::kUnavailable, reason::kGpuLost,
                         "the GPU's worker was lost, and has damaged what it was to compute. Send the tensor again.");
  return false;
}

void GpuPool::ComputeOrLeave(const ComputeTask& task, const Reservation& place) {
  Run& run = *task.run;
  if (run.status = GatherInput(run, clock_); !run.status.ok()) return task.done();
  Compute(run, place.worker(), clock_);
  if (!FailedOnGpu(run.status) || !MayBeReplayed(run, place)) return task.done();
  logger_.Write(LogLevel::kInfo, "batch goes from a gpu to the cpu",
                {{"device", place.worker().device()}, {"why", std::string(run.status.message())}});
  task.compute_on_cpu();
}

void GpuPool::ComputeOnGpuOnly(const ComputeTask& task) {
  Run& run = *task.run;
  if (run.status = GatherInput(run, clock_); !run.status.ok()) return task.done();
  for (int attempt = 0; attempt < kAttemptsMax; ++attempt) {
    const auto place = AwaitPlace(run, run.value_bytes(), run.status);
    if (place == nullptr) break;
    Compute(run, place->worker(), clock_);
    const bool is_last = attempt + 1 == kAttemptsMax;
    if (DetailsOf(run.status).reason != reason::kGpuLost || is_last || !MayBeReplayed(run, *place)) break;
  }
  task.done();
}

std::shared_ptr<GpuPool::Reservation> GpuPool::AwaitPlace(const Run& run, uint64_t bytes, absl::Status& why_not) {
  const absl::Time deadline = clock_.Now() + kWaitForGpuMax;
  while (true) {
    if (auto place = Reserve(bytes, UINT32_MAX)) return place;
    if (why_not = CheckUsable(); !why_not.ok()) return nullptr;
    if (run.cancelled->load()) {
      why_not = absl::CancelledError("cancelled while it waited for a GPU");
      return nullptr;
    }
    if (clock_.Now() >= deadline) {
      why_not = MakeError(absl::StatusCode::kUnavailable, reason::kGpuLost,
                          "no GPU was ready within " + absl::FormatDuration(kWaitForGpuMax) +
                              ". Try again, or send device_policy AUTO; the bytes are the same.");
      return nullptr;
    }
    absl::MutexLock lock(&mutex_);
    given_back_.WaitWithTimeout(&mutex_, kWaitPoll);  // a state, or the time, may have changed too
  }
}

}  // namespace quantd::server
