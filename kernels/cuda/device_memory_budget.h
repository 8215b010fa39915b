// A number of bytes of a device's memory that all who share it keep to.
#pragma once

#include <cstdint>
#include <mutex>

namespace quantd {

// Counts what the driver takes for an allocation, and so never less than what is allocated. Safe from any thread.
class DeviceMemoryBudget {
 public:
  // What the driver takes from the device at once.
  static constexpr uint64_t kGranuleBytes = 2 << 20;

  explicit DeviceMemoryBudget(uint64_t bytes_max) : bytes_max_(bytes_max) {}
  DeviceMemoryBudget(const DeviceMemoryBudget&) = delete;
  DeviceMemoryBudget& operator=(const DeviceMemoryBudget&) = delete;

  // False, and nothing taken, if that were too much. Each one that is true is followed by a GiveBack of the same size.
  bool TryTake(uint64_t bytes) {
    const std::lock_guard lock(mutex_);
    // Rounding up must not wrap around.
    if (bytes > bytes_max_ || Taken(bytes) > bytes_max_ - taken_bytes_) return false;
    taken_bytes_ += Taken(bytes);
    return true;
  }
  void GiveBack(uint64_t bytes) {
    const std::lock_guard lock(mutex_);
    taken_bytes_ -= Taken(bytes);
  }
  uint64_t taken_bytes() const {
    const std::lock_guard lock(mutex_);
    return taken_bytes_;
  }
  uint64_t bytes_max() const { return bytes_max_; }

 private:
  static uint64_t Taken(uint64_t bytes) { return (bytes + kGranuleBytes - 1) / kGranuleBytes * kGranuleBytes; }

  const uint64_t bytes_max_;
  mutable std::mutex mutex_;
  uint64_t taken_bytes_ = 0;
};

}  // namespace quantd
