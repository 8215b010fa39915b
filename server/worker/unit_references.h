// Batches of units between two processes: pointers become offsets into the slots, and pointers again.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "kernels/backend/backend.h"
#include "kernels/scheme/plan.h"
#include "server/worker/protocol.h"

namespace quantd::server {

// The slots as one process has them mapped.
struct SlotMemory {
  std::byte* data = nullptr;
  uint64_t slot_bytes = 0;
  uint32_t slots = 0;

  uint64_t bytes() const { return slot_bytes * slots; }
};

// Everything but `id` and `plan_slot`. INTERNAL with reason BACKEND_FAILED if a segment does not lie in the slots or
// the whole-tensor inputs are too many.
absl::StatusOr<RunMessage> ToMessage(const Plan& plan, const UnitBatch& batch, const SlotMemory& slots);

// The batch, checked: pass and units are the plan's, and every segment lies inside one slot. Points into `message` for
// whole-tensor inputs. INVALID_ARGUMENT otherwise.
absl::StatusOr<UnitBatch> ToBatch(const RunMessage& message, const Plan& plan, const SlotMemory& slots);

}  // namespace quantd::server
