#include "server/session/credit_budget.h"

#include <algorithm>

namespace quantd::server {

CreditBudget::Grant CreditBudget::Take(uint64_t min_bytes, uint64_t max_bytes) {
  absl::MutexLock lock(&mutex_);
  const uint64_t left = bytes_max_ - std::min(bytes_max_, bytes_granted_);
  const uint64_t bytes = std::max(min_bytes, std::min(left / 4, max_bytes));
  bytes_granted_ += bytes;
  return {*this, bytes};
}

uint64_t CreditBudget::bytes_granted() const {
  absl::MutexLock lock(&mutex_);
  return bytes_granted_;
}

void CreditBudget::Return(uint64_t bytes) {
  absl::MutexLock lock(&mutex_);
  bytes_granted_ -= bytes;
}

}  // namespace quantd::server
