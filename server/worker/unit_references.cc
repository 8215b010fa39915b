#include "server/worker/unit_references.h"

#include <functional>
#include <string>
#include <vector>

#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "kernels/base/status_macros.h"

namespace quantd::server {
namespace {

uint64_t BytesOfUnits(const Plan& plan, const SegmentLayout& segment, uint64_t begin_unit, uint64_t end_unit) {
  const auto [begin, end] = plan.BytesOf(segment, begin_unit, end_unit);
  return end - begin;
}

bool LiesInOneSlot(uint64_t offset, uint64_t bytes, const SlotMemory& slots) {
  if (offset >= slots.bytes()) return false;
  return bytes <= slots.slot_bytes - offset % slots.slot_bytes;
}

absl::Status Invalid(const std::string& what) { return absl::InvalidArgumentError("a run names " + what); }

absl::StatusOr<uint64_t> OffsetOf(const std::byte* data, uint64_t bytes, const SlotMemory& slots) {
  const std::less<> before;
  if (before(data, slots.data) || !before(data, slots.data + slots.bytes()) ||
      !LiesInOneSlot(static_cast<uint64_t>(data - slots.data), bytes, slots)) {
    return MakeError(absl::StatusCode::kInternal, reason::kBackendFailed, "a segment of a run is not in the slots");
  }
  return static_cast<uint64_t>(data - slots.data);
}

// Of each per-unit segment the place; kNoOffset for all else.
absl::Status CheckOffsets(const std::array<uint64_t, kSegmentsMax>& offsets, const std::vector<SegmentLayout>& segments,
                          const RunMessage& message, const Plan& plan, const SlotMemory& slots) {
  for (size_t i = 0; i < offsets.size(); ++i) {
    if (i >= segments.size() || segments[i].whole_tensor()) {
      if (offsets[i] != kNoOffset) return Invalid("a place for a segment that has none");
      continue;
    }
    const uint64_t bytes = BytesOfUnits(plan, segments[i], message.begin_unit, message.end_unit);
    if (!LiesInOneSlot(offsets[i], bytes, slots)) return Invalid("a place that is not inside one slot");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<RunMessage> ToMessage(const Plan& plan, const UnitBatch& batch, const SlotMemory& slots) {
  const Pass& pass = plan.passes[batch.pass];
  RunMessage message{
      .pass = batch.pass, .begin_unit = batch.begin_unit, .end_unit = batch.end_unit, .parameters = batch.parameters};
  message.inputs.fill(kNoOffset);
  message.outputs.fill(kNoOffset);
  for (size_t i = 0; i < pass.inputs.size(); ++i) {
    const SegmentLayout& segment = pass.inputs[i];
    if (segment.whole_tensor()) {
      auto& bytes = message.whole_tensor_inputs;
      if (segment.bytes > kWorkerInlineBytesMax - bytes.size()) {
        return MakeError(absl::StatusCode::kInternal, reason::kBackendFailed, "whole-tensor inputs are too long");
      }
      bytes.insert(bytes.end(), batch.inputs[i], batch.inputs[i] + segment.bytes);
      continue;
    }
    const uint64_t bytes = BytesOfUnits(plan, segment, batch.begin_unit, batch.end_unit);
    QUANTD_ASSIGN_OR_RETURN(message.inputs[i], OffsetOf(batch.inputs[i], bytes, slots));
  }
  for (size_t i = 0; i < pass.outputs.size(); ++i) {
    if (pass.outputs[i].whole_tensor()) continue;
    const uint64_t bytes = BytesOfUnits(plan, pass.outputs[i], batch.begin_unit, batch.end_unit);
    QUANTD_ASSIGN_OR_RETURN(message.outputs[i], OffsetOf(batch.outputs[i], bytes, slots));
  }
  return message;
}

absl::StatusOr<UnitBatch> ToBatch(const RunMessage& message, const Plan& plan, const SlotMemory& slots) {
  if (message.pass >= plan.passes.size()) return Invalid("a pass that its plan does not have");
  if (message.begin_unit > message.end_unit || message.end_unit > plan.unit_count()) {
    return Invalid("units that its plan does not have");
  }
  const Pass& pass = plan.passes[message.pass];
  QUANTD_RETURN_IF_ERROR(CheckOffsets(message.inputs, pass.inputs, message, plan, slots));
  QUANTD_RETURN_IF_ERROR(CheckOffsets(message.outputs, pass.outputs, message, plan, slots));
  UnitBatch batch{.pass = message.pass,
                  .begin_unit = message.begin_unit,
                  .end_unit = message.end_unit,
                  .parameters = message.parameters};
  uint64_t inline_bytes_used = 0;
  for (size_t i = 0; i < pass.inputs.size(); ++i) {
    if (!pass.inputs[i].whole_tensor()) {
      batch.inputs[i] = slots.data + message.inputs[i];
      continue;
    }
    if (pass.inputs[i].bytes > message.whole_tensor_inputs.size() - inline_bytes_used) {
      return Invalid("too few bytes of whole-tensor inputs");
    }
    batch.inputs[i] = message.whole_tensor_inputs.data() + inline_bytes_used;
    inline_bytes_used += pass.inputs[i].bytes;
  }
  if (inline_bytes_used != message.whole_tensor_inputs.size()) {
    return Invalid("too many bytes of whole-tensor inputs");
  }
  for (size_t i = 0; i < pass.outputs.size(); ++i) {
    if (!pass.outputs[i].whole_tensor()) batch.outputs[i] = slots.data + message.outputs[i];
  }
  return batch;
}

}  // namespace quantd::server
