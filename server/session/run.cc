#include "server/session/run.h"

#include <algorithm>
#include <span>
#include <utility>

#include "kernels/base/crc32c.h"
#include "kernels/base/status_macros.h"
#include "server/session/gathering_run.h"

namespace quantd::server {
namespace {

bool IsSpooled(const SegmentLayout& segment) {
  return segment.name == kSpooledScalesSegment || segment.name == kSpooledValuesSegment;
}

// The second pass finds its only input, scales or values that the first has left there, in the spool.
absl::Status ReadSpooledInput(const Run& run) {
  const SegmentLayout& input = run.plan->passes[1].inputs.front();
  const auto [begin, end] = run.plan->BytesOf(input, run.units.begin_unit, run.units.end_unit);
  const uint64_t base = run.units.inputs[0] - run.memory.data;
  return run.spool->ReadAt(begin, std::span(run.memory.data + base, end - begin));
}

void CutIntoPieces(Run& run, const SegmentLayout& segment, std::span<const std::byte> bytes, uint64_t offset) {
  while (!bytes.empty()) {
    const auto part = bytes.first(std::min<uint64_t>(bytes.size(), run.piece_bytes_max));
    OutputPiece piece{segment.name, offset, part, run.memory.slot, std::nullopt};
    if (run.checksums) piece.crc32c = ExtendCrc32c(0, part);
    run.pieces.push_back(std::move(piece));
    bytes = bytes.subspan(part.size());
    offset += part.size();
  }
}

absl::Status ComputeUnits(Run& run, Backend& backend, const Clock& clock) {
  if (run.units.pass == 1) QUANTD_RETURN_IF_ERROR(ReadSpooledInput(run));
  QUANTD_ASSIGN_OR_RETURN(run.result, GatherAndRun(run, backend, clock));
  const Pass& pass = run.plan->passes[run.units.pass];
  for (size_t i = 0; i < pass.outputs.size(); ++i) {
    const SegmentLayout& segment = pass.outputs[i];
    if (segment.whole_tensor()) continue;
    const auto [begin, end] = run.plan->BytesOf(segment, run.units.begin_unit, run.units.end_unit);
    const std::span<const std::byte> bytes(run.units.outputs[i], end - begin);
    if (IsSpooled(segment)) {
      if (!run.spooled_before) QUANTD_RETURN_IF_ERROR(run.spool->WriteAt(begin, bytes));
    } else {
      CutIntoPieces(run, segment, bytes, begin);
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status GatherInput(Run& run, const Clock& clock) {
  const std::vector<PendingInput> pending = std::exchange(run.pending, {});
  if (pending.empty()) return absl::OkStatus();
  const absl::Time started_at = clock.Now();
  for (size_t i = 0; i < kSegmentsMax; ++i) QUANTD_RETURN_IF_ERROR(Gather(pending, i, run.input_crc32c[i]));
  run.receive_time += clock.Now() - started_at;
  return absl::OkStatus();
}

bool InputIsIntact(const Run& run) {
  const auto& inputs = run.plan->passes[run.units.pass].inputs;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!run.input_crc32c[i].has_value()) continue;
    const auto [begin, end] = run.plan->BytesOf(inputs[i], run.units.begin_unit, run.units.end_unit);
    if (ExtendCrc32c(0, std::span(run.units.inputs[i], end - begin)) != *run.input_crc32c[i]) return false;
  }
  return true;
}

void Compute(Run& run, Backend& backend, const Clock& clock) {
  const absl::Time started_at = clock.Now();
  const absl::Duration received_before = run.receive_time;
  run.queue_time = started_at - run.ready_at;
  run.device = backend.name();
  if (run.cancelled->load(std::memory_order_acquire)) {
    run.status = absl::CancelledError("cancelled before it was computed");
  } else {
    run.status = run.compute != nullptr ? run.compute() : ComputeUnits(run, backend, clock);
  }
  run.compute_time = clock.Now() - started_at - (run.receive_time - received_before);
}

}  // namespace quantd::server
