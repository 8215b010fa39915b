// What keeps glibc's allocator fast on messages of a megabyte without keeping memory for ever.
#pragma once

#include <cstdint>
#include <functional>
#include <thread>

#include "absl/synchronization/notification.h"
#include "absl/time/time.h"

namespace quantd::server {

// For the whole process, before threads start: message buffers come from the heap instead of a fresh mapping each,
// which would fault in every page again; and few heaps are shared by all threads, because each keeps what it once
// needed.
void TuneMalloc();

// Decides when free heap memory goes back to the system: when nothing is open, and only if there is enough of it.
class TrimPolicy {
 public:
  // `free_bytes`: what the heap holds and nobody uses. At most one true for the same amount.
  bool IsDue(uint32_t open_streams, uint64_t free_bytes);

 private:
  uint64_t trimmed_at_bytes_ = 0;
};

inline constexpr uint64_t kTrimFreeBytesMin = 16u << 20;
inline constexpr absl::Duration kTrimInterval = absl::Seconds(5);

// A thread that asks the policy every kTrimInterval.
class IdleTrimmer {
 public:
  // `open_streams` must be callable until the destructor returns.
  explicit IdleTrimmer(std::function<uint32_t()> open_streams);
  ~IdleTrimmer();

 private:
  absl::Notification stop_;
  std::thread thread_;
};

}  // namespace quantd::server
