// The credit that all tensors share: what clients may have on the way is memory of the transport.
#pragma once

#include <cstdint>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace quantd::server {

// Gives windows out of a budget: wide ones while few tensors are under way, narrower ones the more there are. Safe from
// any thread.
class CreditBudget {
 public:
  explicit CreditBudget(uint64_t bytes_max) : bytes_max_(bytes_max) {}

  // A tensor's window; goes back when destroyed. The budget must outlive it.
  class Grant {
   public:
    Grant(CreditBudget& budget, uint64_t bytes) : budget_(&budget), bytes_(bytes) {}
    ~Grant() {
      if (budget_ != nullptr) budget_->Return(bytes_);
    }
    Grant(Grant&& other) noexcept : budget_(std::exchange(other.budget_, nullptr)), bytes_(other.bytes_) {}
    Grant& operator=(Grant&&) = delete;

    uint64_t bytes() const { return bytes_; }

   private:
    CreditBudget* budget_;
    uint64_t bytes_;
  };

  // A quarter of what is left, but at least min_bytes, which every tensor needs to get on, and at most max_bytes.
  Grant Take(uint64_t min_bytes, uint64_t max_bytes);

  uint64_t bytes_granted() const;

 private:
  void Return(uint64_t bytes);

  const uint64_t bytes_max_;
  mutable absl::Mutex mutex_;
  uint64_t bytes_granted_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace quantd::server
