#include "server/session/load_budget.h"

#include <algorithm>

#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"

namespace quantd::server {
namespace {

// Computing time over which the speed is averaged.
constexpr double kObservedSecondsMax = 2;

std::string Text(uint64_t number) { return std::to_string(number); }

}  // namespace

absl::StatusOr<LoadBudget::Load> LoadBudget::Enter(const Principal& principal, uint64_t bytes,
                                                   absl::Duration time_left) {
  absl::MutexLock lock(&mutex_);
  const absl::Duration queue_time = QueueTimeLocked(principal);
  const auto own = accounts_.find(principal.name);
  const uint64_t own_max = LoadBytesPerPrincipalMax(limits_);
  if (own != accounts_.end() && own->second.bytes >= own_max) {
    return MakeError(absl::StatusCode::kResourceExhausted, reason::kPrincipalLoad,
                     principal.name + " has tensors of " + Text(own->second.bytes) +
                         " bytes under way, and more only below " + Text(own_max) +
                         ". Let some finish first, or send fewer at once.",
                     {{"load_bytes_per_principal_max", Text(own_max)}, {"load_bytes", Text(own->second.bytes)}});
  }
  if (bytes_ >= limits_.load_bytes_max) {
    return MakeError(absl::StatusCode::kUnavailable, reason::kServerLoad,
                     "tensors of " + Text(bytes_) + " bytes are under way here, and more are taken only below " +
                         Text(limits_.load_bytes_max) + ". Try again later, or use another replica.",
                     {{"load_bytes_max", Text(limits_.load_bytes_max)},
                      {"load_bytes", Text(bytes_)},
                      {kRetryDelayKey, retry_delays_.Next(queue_time)}});
  }
  if (queue_time > time_left) {
    return MakeError(absl::StatusCode::kUnavailable, reason::kQueueTooLong,
                     "what " + principal.name + " has under way takes about " + absl::FormatDuration(queue_time) +
                         ", and this call has " + absl::FormatDuration(time_left) +
                         " left. Allow more time, use another replica, or send fewer tensors at once.",
                     {{"queue_ms", Text(static_cast<uint64_t>(absl::ToInt64Milliseconds(queue_time)))},
                      {kRetryDelayKey, retry_delays_.Next(queue_time)}});
  }
  Account& account = accounts_[principal.name];
  account.weight = principal.weight;
  account.bytes += bytes;
  ++account.tensors;
  bytes_ += bytes;
  return Load(*this, principal, bytes);
}

void LoadBudget::Observe(uint64_t bytes, absl::Duration compute_time) {
  absl::MutexLock lock(&mutex_);
  observed_bytes_ += static_cast<double>(bytes);
  observed_seconds_ += absl::ToDoubleSeconds(compute_time);
  if (observed_seconds_ <= kObservedSecondsMax) return;
  observed_bytes_ *= kObservedSecondsMax / observed_seconds_;
  observed_seconds_ = kObservedSecondsMax;
}

absl::Duration LoadBudget::QueueTime(const Principal& principal) const {
  absl::MutexLock lock(&mutex_);
  return QueueTimeLocked(principal);
}

absl::Duration LoadBudget::QueueTimeLocked(const Principal& principal) const {
  const auto own = accounts_.find(principal.name);
  if (own == accounts_.end() || observed_bytes_ <= 0) return absl::ZeroDuration();
  double weights = 0;
  for (const auto& [name, account] : accounts_) weights += account.bytes > 0 ? account.weight : 0;
  const double part = own->second.bytes > 0 ? own->second.weight / weights : 1;
  const double bytes_per_second = observed_bytes_ / observed_seconds_ * compute_threads_ * part;
  return absl::Seconds(static_cast<double>(own->second.bytes) / bytes_per_second);
}

uint64_t LoadBudget::bytes() const {
  absl::MutexLock lock(&mutex_);
  return bytes_;
}

void LoadBudget::Load::Consume(uint64_t bytes) {
  absl::MutexLock lock(&budget_->mutex_);
  bytes_ -= bytes;
  budget_->bytes_ -= bytes;
  budget_->accounts_.find(principal_.name)->second.bytes -= bytes;
}

void LoadBudget::Leave(const Principal& principal, uint64_t bytes) {
  absl::MutexLock lock(&mutex_);
  bytes_ -= bytes;
  const auto account = accounts_.find(principal.name);
  account->second.bytes -= bytes;
  if (--account->second.tensors == 0) accounts_.erase(account);
}

}  // namespace quantd::server
