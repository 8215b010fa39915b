// A run: consecutive units of one batch that are computed together, with everything the computing thread needs and
// nothing it shares.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "kernels/backend/backend.h"
#include "kernels/base/clock.h"
#include "kernels/scheme/batch_layout.h"
#include "server/session/frame.h"
#include "server/session/pending_input.h"
#include "server/session/region_allocator.h"
#include "server/session/spool.h"

namespace quantd::server {

struct Run {
  // Set by the tensor, unchanged while the run is computed.
  std::shared_ptr<const Plan> plan;
  std::function<absl::Status()> compute;  // in place of the backend and of the rest of these; then there is no plan
  std::shared_ptr<const std::atomic<bool>> cancelled;
  std::shared_ptr<Spool> spool;  // null without one
  bool spooled_before = false;   // what the first pass keeps of these units is in the spool: only results are wanted
  Region memory;
  std::shared_ptr<const void> whole_tensor_inputs;  // keeps what units.inputs points to outside of the region
  UnitBatch units;
  uint64_t input_bytes = 0;           // that the client sent for these units
  uint64_t cost_bytes = 0;            // of `compute`, where it is not its input that it costs
  std::vector<PendingInput> pending;  // of the inputs, what is not in the slot
  // Of each input as it came, where that is known without reading it once more; without what is pending.
  std::array<std::optional<uint32_t>, kSegmentsMax> input_crc32c{};
  uint32_t piece_bytes_max = 0;
  bool checksums = true;
  absl::Time ready_at;

  // What computing it costs, whatever its input is: tensors of one size cost the same in both directions.
  uint64_t value_bytes() const {
    if (plan == nullptr) return std::max(input_bytes, cost_bytes);
    return plan->ElementsOf(units.begin_unit, units.end_unit) * SizeBytes(plan->values_dtype);
  }

  // Set by Compute.
  absl::Status status;
  BatchResult result;
  std::string_view device;          // the backend's name
  std::vector<OutputPiece> pieces;  // what goes on the wire, in order; they keep the slot
  absl::Duration queue_time, receive_time, compute_time;

  // Set by the tensor when the computing thread has given the run back.
  bool done = false;
};

// Copies the input that is pending into the slot, for those who can compute it only there, and lets go of the
// transport's memory. DATA_LOSS with reason CHECKSUM_MISMATCH.
absl::Status GatherInput(Run& run, const Clock& clock);

// Computes the run on this thread: gathers its input, which then is in the slot only if it must be, or reads it from
// the spool if it is of the second pass, runs the backend, spools what the second pass will need (and else is not
// sent), and cuts the output into pieces with their CRC32C. Never fails otherwise than in run.status; a run whose
// backend failed can be computed again.
void Compute(Run& run, Backend& backend, const Clock& clock);

// False if an input in the slot is not what came: something has written to it that should not have. True for what
// cannot be known. Reads the inputs.
bool InputIsIntact(const Run& run);

}  // namespace quantd::server
