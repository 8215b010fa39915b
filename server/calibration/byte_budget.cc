#include "server/calibration/byte_budget.h"

namespace quantd::server {

std::optional<ReservedBytes> ByteBudget::Reserve(uint64_t bytes) {
  if (!Take(bytes)) return std::nullopt;
  return ReservedBytes(*this, bytes);
}

bool ByteBudget::Take(uint64_t bytes) {
  {
    absl::MutexLock lock(&mutex_);
    if (bytes > bytes_max_ - bytes_reserved_) return false;
    bytes_reserved_ += bytes;
  }
  if (whole_ == nullptr || whole_->Take(bytes)) return true;
  absl::MutexLock lock(&mutex_);
  bytes_reserved_ -= bytes;
  return false;
}

void ByteBudget::Release(uint64_t bytes) {
  {
    absl::MutexLock lock(&mutex_);
    bytes_reserved_ -= bytes;
  }
  if (whole_ != nullptr) whole_->Release(bytes);
}

uint64_t ByteBudget::bytes_reserved() const {
  absl::MutexLock lock(&mutex_);
  return bytes_reserved_;
}

void ReservedBytes::ShrinkTo(uint64_t bytes) {
  if (bytes >= bytes_) return;
  budget_->Release(bytes_ - bytes);
  bytes_ = bytes;
}

void ReservedBytes::Add(ReservedBytes other) {
  if (budget_ == nullptr) budget_ = other.budget_;
  bytes_ += std::exchange(other.bytes_, 0);
}

}  // namespace quantd::server
