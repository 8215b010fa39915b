// The threads that compute.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/session/fair_queue.h"
#include "server/session/turn.h"

namespace quantd::server {

// Runs functions on a fixed number of threads, in the order of a FairQueue. The queue needs no limit of its own: every
// function in it belongs to a slot or to a stream. Safe from any thread.
class ComputePool {
 public:
  explicit ComputePool(uint32_t threads);
  // Runs what is queued, then ends.
  ~ComputePool();
  ComputePool(const ComputePool&) = delete;
  ComputePool& operator=(const ComputePool&) = delete;

  void Submit(const Turn& turn, std::function<void()> work);
  // Before all else, first come first served: for what takes no time, and holds others up.
  void SubmitFirst(std::function<void()> work);

 private:
  void RunThread();
  bool HasWorkOrEnds() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  absl::Mutex mutex_;
  std::deque<std::function<void()>> first_ ABSL_GUARDED_BY(mutex_);
  FairQueue<std::function<void()>> queue_ ABSL_GUARDED_BY(mutex_);
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace quantd::server
