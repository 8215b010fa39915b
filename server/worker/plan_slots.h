// Which plans a worker has, so that each is described to it once.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "server/worker/protocol.h"

namespace quantd::server {

// A fixed number of places; a plan that is not there takes that of the one used longest ago.
class PlanSlots {
 public:
  struct Place {
    uint32_t slot = 0;
    bool is_new = false;  // the worker must be told before it is used
  };
  // `description`: equal for equal plans.
  Place Find(const std::vector<std::byte>& description) {
    uint32_t oldest = 0;
    for (uint32_t slot = 0; slot < kWorkerPlanSlots; ++slot) {
      if (entries_[slot].used_at != 0 && entries_[slot].description == description) {
        entries_[slot].used_at = ++uses_;
        return {slot, false};
      }
      if (entries_[slot].used_at < entries_[oldest].used_at) oldest = slot;
    }
    entries_[oldest] = {description, ++uses_};
    return {oldest, true};
  }

 private:
  struct Entry {
    std::vector<std::byte> description;
    uint64_t used_at = 0;  // 0: free
  };
  std::array<Entry, kWorkerPlanSlots> entries_;
  uint64_t uses_ = 0;
};

}  // namespace quantd::server
