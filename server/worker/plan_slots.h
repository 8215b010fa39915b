// Which plans a worker has, so that each is described to it once.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "kernels/scheme/plan.h"
#include "server/worker/protocol.h"

namespace quantd::server {

// A fixed number of places; a plan that is not there takes that of the one used longest ago.
class PlanSlots {
 public:
  struct Place {
    uint32_t slot = 0;
    bool is_new = false;  // the worker must be told before it is used
  };
  Place Find(const Plan& plan) {
    uint32_t oldest = 0;
    for (uint32_t slot = 0; slot < kWorkerPlanSlots; ++slot) {
      if (entries_[slot].used_at != 0 && entries_[slot].IsOf(plan)) {
        entries_[slot].used_at = ++uses_;
        return {slot, false};
      }
      if (entries_[slot].used_at < entries_[oldest].used_at) oldest = slot;
    }
    entries_[oldest] = {plan.scheme, plan.direction, plan.values_dtype, plan.shape, plan.known, ++uses_};
    return {oldest, true};
  }

 private:
  // What MakePlan makes a plan from. Compared for each batch, so not as the message that describes it.
  struct Entry {
    Scheme scheme;
    Direction direction{};
    DataType values_dtype{};
    std::vector<uint64_t> shape;
    KnownStatistics known;
    uint64_t used_at = 0;  // 0: free

    bool IsOf(const Plan& plan) const {
      return direction == plan.direction && values_dtype == plan.values_dtype && shape == plan.shape &&
             known == plan.known && scheme == plan.scheme;
    }
  };
  std::array<Entry, kWorkerPlanSlots> entries_;
  uint64_t uses_ = 0;
};

}  // namespace quantd::server
