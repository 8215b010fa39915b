#include "server/session/credit_budget.h"

#include <algorithm>

namespace quantd::server {

CreditBudget::Grant CreditBudget::Take(const Principal& principal, uint64_t min_bytes, uint64_t max_bytes) {
  absl::MutexLock lock(&mutex_);
  Account& account = accounts_[principal.name];
  account.weight = principal.weight;
  const uint64_t part = PartOf(account);
  const uint64_t left =
      std::min(bytes_max_ - std::min(bytes_max_, bytes_granted_), part - std::min(part, account.bytes));
  const uint64_t bytes = std::max(min_bytes, std::min(left / 4, max_bytes));
  bytes_granted_ += bytes;
  account.bytes += bytes;
  ++account.grants;
  return {*this, principal, bytes};
}

uint64_t CreditBudget::bytes_granted() const {
  absl::MutexLock lock(&mutex_);
  return bytes_granted_;
}

uint64_t CreditBudget::PartOf(const Account& account) const {
  uint64_t weights = 0;
  for (const auto& [name, other] : accounts_) weights += other.weight;
  return std::min(bytes_max_ - bytes_max_ / 4, bytes_max_ / weights * account.weight);
}

void CreditBudget::Return(const Principal& principal, uint64_t bytes) {
  absl::MutexLock lock(&mutex_);
  bytes_granted_ -= bytes;
  const auto account = accounts_.find(principal.name);
  account->second.bytes -= bytes;
  if (--account->second.grants == 0) accounts_.erase(account);
}

}  // namespace quantd::server
