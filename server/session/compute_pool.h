// The threads that compute.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace quantd::server {

// Order among the work that waits.
enum class Priority : uint8_t { kLow, kNormal, kHigh };

// Runs functions on a fixed number of threads: higher priorities first, first come first served within one. The queue
// needs no limit of its own: every function in it belongs to a slot or to a stream. Safe from any thread.
class ComputePool {
 public:
  explicit ComputePool(uint32_t threads);
  // Runs what is queued, then ends.
  ~ComputePool();
  ComputePool(const ComputePool&) = delete;
  ComputePool& operator=(const ComputePool&) = delete;

  void Submit(Priority priority, std::function<void()> work);

 private:
  void RunThread();
  bool HasWorkOrEnds() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  absl::Mutex mutex_;
  std::array<std::deque<std::function<void()>>, 3> queues_ ABSL_GUARDED_BY(mutex_);
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace quantd::server
