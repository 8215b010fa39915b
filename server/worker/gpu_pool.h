// Chooses where a run is computed: on which GPU, or not on one.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "kernels/base/clock.h"
#include "server/session/compute_pool.h"
#include "server/session/device_pool.h"
#include "server/telemetry/logger.h"
#include "server/worker/duty_cycle.h"
#include "server/worker/gpu_worker.h"
#include "server/worker/token_bucket.h"

namespace quantd::server {

struct GpuPoolOptions {
  uint32_t units_in_flight_max = 4;        // of each GPU: as many threads wait for it
  uint64_t min_batch_bytes = 512 << 10;    // of values; DEVICE_POLICY_AUTO computes smaller batches on the CPU
  uint64_t copy_bytes_per_second_max = 0;  // of values, on all GPUs together; 0: as fast as it goes
  uint32_t duty_percent_max = 100;         // part of the time in which each GPU may have work; 100: all of it
};

// DEVICE_POLICY_AUTO: a batch that is large enough goes to the serving GPU with the least outstanding bytes, unless all
// have their fill; everything else to the CPU, a batch whose GPU failed included. DEVICE_POLICY_GPU: it waits for a
// GPU, and is tried on a second one if the first is lost. Error metrics are summed up on the CPU always.
class GpuPool final : public DevicePool {
 public:
  // At least one worker; starts them. `clock` and `logger` must outlive it.
  GpuPool(const GpuPoolOptions& options, std::vector<std::unique_ptr<GpuWorker>> workers, const Clock& clock,
          Logger& logger);
  // Finishes what it was given.
  ~GpuPool() override = default;

  absl::Status CheckUsable() const override;
  bool TryCompute(const ComputeTask& task) override;
  std::vector<DeviceInfo> Describe() const override;

  // True once a GPU serves; false after `timeout`.
  bool AwaitServing(absl::Duration timeout) const;

 private:
  struct Device {
    std::unique_ptr<GpuWorker> worker;
    uint32_t units = 0;  // given to it or waiting for it
    uint64_t bytes = 0;
    uint64_t replays = 0;  // since the start
    DutyCycle duty;
  };
  // A place on a GPU, given back when destroyed.
  class Reservation {
   public:
    Reservation(GpuPool& pool, Device& device, uint64_t bytes) : pool_(pool), device_(device), bytes_(bytes) {}
    ~Reservation() { pool_.GiveBack(device_, bytes_); }
    Reservation(const Reservation&) = delete;
    Reservation& operator=(const Reservation&) = delete;
    GpuWorker& worker() const { return *device_.worker; }
    Device& device() const { return device_; }

   private:
    GpuPool& pool_;
    Device& device_;
    const uint64_t bytes_;
  };

  std::shared_ptr<Reservation> Reserve(uint64_t bytes, uint32_t units_max);
  void GiveBack(Device& device, uint64_t bytes);
  // Counts it, if so.
  bool MayBeReplayed(Run& run, const Reservation& place);
  void ComputeOrLeave(const ComputeTask& task, const Reservation& place);
  void ComputeOnGpuOnly(const ComputeTask& task);
  std::shared_ptr<Reservation> AwaitPlace(const Run& run, uint64_t bytes, absl::Status& why_not);

  const GpuPoolOptions options_;
  const Clock& clock_;
  Logger& logger_;
  mutable absl::Mutex mutex_;
  absl::CondVar given_back_;
  std::vector<Device> devices_;  // the counters only under the mutex
  TokenBucket copies_ ABSL_GUARDED_BY(mutex_);
  ComputePool threads_;  // after all that its work uses
};

}  // namespace quantd::server
