// How much the server has promised to do, and whether it may promise more.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/session/limits.h"
#include "server/session/principal.h"
#include "server/session/retry_delay.h"

namespace quantd::server {

// Counts the input of tensors that were accepted and is not yet consumed: the queue of a server that streams. Knows how
// fast its processors compute, so it can tell how long that queue is. Safe from any thread.
class LoadBudget {
 public:
  // `limits` must outlive it.
  LoadBudget(const Limits& limits, uint32_t compute_threads) : limits_(limits), compute_threads_(compute_threads) {}

  // A tensor's place in the queue; leaves it when destroyed. The budget must outlive it.
  class Load {
   public:
    Load(LoadBudget& budget, Principal principal, uint64_t bytes)
        : budget_(&budget), principal_(std::move(principal)), bytes_(bytes) {}
    ~Load() {
      if (budget_ != nullptr) budget_->Leave(principal_, bytes_);
    }
    Load(Load&& other) noexcept
        : budget_(std::exchange(other.budget_, nullptr)),
          principal_(std::move(other.principal_)),
          bytes_(other.bytes_) {}
    Load& operator=(Load&&) = delete;

    // Not more than the tensor's bytes in all.
    void Consume(uint64_t bytes);

   private:
    LoadBudget* budget_;
    Principal principal_;
    uint64_t bytes_;  // not yet consumed
  };

  // A tensor of so many bytes of input enters the queue. It may be larger than what is left, so that every tensor can
  // come in at some time, and what follows waits the longer. Refused with reason
  // - PRINCIPAL_LOAD, RESOURCE_EXHAUSTED: load_bytes_per_principal_max of this principal's wait already;
  // - SERVER_LOAD, UNAVAILABLE: load_bytes_max wait already;
  // - QUEUE_TOO_LONG, UNAVAILABLE: what this principal has waiting takes longer than `time_left`, even at full speed.
  absl::StatusOr<Load> Enter(const Principal& principal, uint64_t bytes, absl::Duration time_left);

  // A run of so many bytes was computed within that time, by one thread.
  void Observe(uint64_t bytes, absl::Duration compute_time);

  // Until all that this principal has waiting is computed, at the speed observed lately, by its part of the threads.
  // Zero before anything was observed.
  absl::Duration QueueTime(const Principal& principal) const;

  uint64_t bytes() const;

 private:
  struct Account {
    uint32_t weight = 1;
    uint32_t tensors = 0;
    uint64_t bytes = 0;
  };

  absl::Duration QueueTimeLocked(const Principal& principal) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Leave(const Principal& principal, uint64_t bytes);

  const Limits& limits_;
  const uint32_t compute_threads_;
  mutable absl::Mutex mutex_;
  uint64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<std::string, Account> accounts_ ABSL_GUARDED_BY(mutex_);  // of principals that have tensors here
  RetryDelays retry_delays_ ABSL_GUARDED_BY(mutex_);
  // Of late, older ones counting less and less.
  double observed_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  double observed_seconds_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace quantd::server
