// Memory that is counted before it is taken.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace quantd::server {

class ReservedBytes;

// So many bytes for all who share it, which are part of `whole` too where there is one. Must outlive what it has given,
// as `whole` must outlive it. Safe from any thread.
class ByteBudget {
 public:
  explicit ByteBudget(uint64_t bytes_max, ByteBudget* whole = nullptr) : bytes_max_(bytes_max), whole_(whole) {}

  // Nothing where they do not fit.
  std::optional<ReservedBytes> Reserve(uint64_t bytes);

  uint64_t bytes_max() const { return bytes_max_; }
  uint64_t bytes_reserved() const;

 private:
  friend class ReservedBytes;
  bool Take(uint64_t bytes);
  void Release(uint64_t bytes);

  const uint64_t bytes_max_;
  ByteBudget* const whole_;
  mutable absl::Mutex mutex_;
  uint64_t bytes_reserved_ ABSL_GUARDED_BY(mutex_) = 0;
};

// A part of a budget; goes back when destroyed. Not thread-safe.
class ReservedBytes {
 public:
  ReservedBytes() = default;  // of nothing
  ~ReservedBytes() { ShrinkTo(0); }
  ReservedBytes(ReservedBytes&& other) noexcept
      : budget_(std::exchange(other.budget_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  ReservedBytes& operator=(ReservedBytes&& other) noexcept {
    std::swap(budget_, other.budget_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }

  uint64_t bytes() const { return bytes_; }
  // Gives back what is more than `bytes`.
  void ShrinkTo(uint64_t bytes);
  // Takes over what `other` has, of the same budget.
  void Add(ReservedBytes other);

 private:
  friend class ByteBudget;
  ReservedBytes(ByteBudget& budget, uint64_t bytes) : budget_(&budget), bytes_(bytes) {}

  ByteBudget* budget_ = nullptr;
  uint64_t bytes_ = 0;
};

}  // namespace quantd::server
