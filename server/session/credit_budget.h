// The credit that all tensors share: what clients may have on the way is memory of the transport.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/session/principal.h"

namespace quantd::server {

// Gives windows out of a budget: wide ones while few tensors are under way, narrower ones the more there are. A
// principal has its part of the budget, by weight, of those that have windows now; alone it has three quarters, so that
// the next one finds some. Safe from any thread.
class CreditBudget {
 public:
  explicit CreditBudget(uint64_t bytes_max) : bytes_max_(bytes_max) {}

  // A tensor's window; goes back when destroyed. The budget must outlive it.
  class Grant {
   public:
    Grant(CreditBudget& budget, Principal principal, uint64_t bytes)
        : budget_(&budget), principal_(std::move(principal)), bytes_(bytes) {}
    ~Grant() {
      if (budget_ != nullptr) budget_->Return(principal_, bytes_);
    }
    Grant(Grant&& other) noexcept
        : budget_(std::exchange(other.budget_, nullptr)),
          principal_(std::move(other.principal_)),
          bytes_(other.bytes_) {}
    Grant& operator=(Grant&&) = delete;

    uint64_t bytes() const { return bytes_; }

   private:
    CreditBudget* budget_;
    Principal principal_;
    uint64_t bytes_;
  };

  // A quarter of what is left of the budget and of the principal's part, but at least min_bytes, which every tensor
  // needs to get on, and at most max_bytes.
  Grant Take(const Principal& principal, uint64_t min_bytes, uint64_t max_bytes);

  uint64_t bytes_granted() const;

 private:
  struct Account {
    uint32_t weight = 1;
    uint32_t grants = 0;
    uint64_t bytes = 0;
  };

  uint64_t PartOf(const Account& account) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Return(const Principal& principal, uint64_t bytes);

  const uint64_t bytes_max_;
  mutable absl::Mutex mutex_;
  uint64_t bytes_granted_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<std::string, Account> accounts_ ABSL_GUARDED_BY(mutex_);  // of principals that have windows
};

}  // namespace quantd::server
