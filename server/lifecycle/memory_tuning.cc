#include "server/lifecycle/memory_tuning.h"

#include <malloc.h>

#include <utility>

namespace quantd::server {
namespace {

// Above the largest message (4 MiB) with its overhead; beyond it a mapping of its own is right.
constexpr int kMmapThresholdBytes = 8 << 20;
// What the top of a heap may keep: a few messages in flight.
constexpr int kTrimThresholdBytes = 32 << 20;
constexpr int kArenasMax = 4;

}  // namespace

void TuneMalloc() {
  mallopt(M_MMAP_THRESHOLD, kMmapThresholdBytes);
  mallopt(M_TRIM_THRESHOLD, kTrimThresholdBytes);
  mallopt(M_ARENA_MAX, kArenasMax);
}

bool TrimPolicy::IsDue(uint32_t open_streams, uint64_t free_bytes) {
  if (open_streams > 0 || free_bytes < kTrimFreeBytesMin || free_bytes == trimmed_at_bytes_) return false;
  trimmed_at_bytes_ = free_bytes;
  return true;
}

IdleTrimmer::IdleTrimmer(std::function<uint32_t()> open_streams)
    : thread_([this, open_streams = std::move(open_streams)] {
        TrimPolicy policy;
        while (!stop_.WaitForNotificationWithTimeout(kTrimInterval)) {
          if (policy.IsDue(open_streams(), mallinfo2().fordblks)) malloc_trim(0);
        }
      }) {}

IdleTrimmer::~IdleTrimmer() {
  stop_.Notify();
  thread_.join();
}

}  // namespace quantd::server
