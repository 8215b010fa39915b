// The batch that a tensor fills: consecutive units in one region of a slot.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "kernels/scheme/batch_layout.h"
#include "kernels/scheme/plan.h"
#include "server/session/frame.h"
#include "server/session/frame_cursor.h"
#include "server/session/pending_input.h"
#include "server/session/region_allocator.h"
#include "server/session/run.h"

namespace quantd::server {

// Whether a piece is left in its frame until it is computed. Smaller ones are copied at once, for each keeps two of the
// transport's buffers of 64 KiB, which it may have little of.
bool IsDeferred(const InputPiece& piece);

struct InputBatch {
  // Empty and without a region, for which it waits.
  InputBatch(uint64_t begin_unit, uint64_t end_unit, const BatchLayout& layout);

  // Takes the next `bytes` of the cursor's piece, whose place in the region is `target`. DATA_LOSS with reason
  // CHECKSUM_MISMATCH from what was pending before them.
  absl::Status Take(FrameCursor& cursor, size_t input, std::byte* target, uint64_t bytes, ChecksumKind checksums);
  // Of all inputs.
  uint64_t pending_bytes() const;

  // Gives the run, whose plan, memory and units are set, what there is of its inputs. `input_ends`: how far each has
  // come, in the tensor.
  void HandOver(Run& run, const std::vector<uint64_t>& input_ends);

  const uint64_t begin_unit;
  const uint64_t end_unit;
  uint64_t submitted_unit;  // up to here runs have been made
  const BatchLayout layout;
  Region region;

 private:
  // CRC32C of what has been copied of each input from submitted_unit on; none once a run has ended inside of that.
  std::array<std::optional<uint32_t>, kSegmentsMax> copied_crc32c_{};
  std::vector<PendingInput> pending_;  // what follows that, of each input in order
};

}  // namespace quantd::server
