#include "server/session/input_batch.h"

#include <utility>

#include "kernels/base/crc32c.h"
#include "kernels/base/status_macros.h"
#include "server/session/piece_check.h"

namespace quantd::server {
namespace {

constexpr uint32_t kDeferredPieceBytesMin = 64 << 10;

}  // namespace

bool IsDeferred(const InputPiece& piece) { return piece.length >= kDeferredPieceBytesMin; }

InputBatch::InputBatch(uint64_t begin_unit, uint64_t end_unit, const BatchLayout& layout)
    : begin_unit(begin_unit), end_unit(end_unit), submitted_unit(begin_unit), layout(layout) {
  copied_crc32c_.fill(0);
}

absl::Status InputBatch::Take(FrameCursor& cursor, size_t input, std::byte* target, uint64_t bytes,
                              ChecksumKind checksums) {
  const InputPiece& piece = *cursor.piece();
  if (IsDeferred(piece)) {
    pending_.push_back(cursor.Defer(input, target, bytes, IsChecked(piece, checksums)));
    return absl::OkStatus();
  }
  std::optional<uint32_t>& crc = copied_crc32c_[input];
  const auto is_its_own = [input](const PendingInput& pending) { return pending.input == input; };
  QUANTD_RETURN_IF_ERROR(Gather(pending_, input, crc));
  std::erase_if(pending_, is_its_own);
  const uint32_t crc_before = cursor.crc32c();
  cursor.CopyTo(target, bytes);
  // Combining is its own inverse: what the cursor's CRC had before is taken out of what it has now.
  if (crc.has_value()) crc = CombineCrc32c(*crc, CombineCrc32c(crc_before, cursor.crc32c(), bytes), bytes);
  return absl::OkStatus();
}

uint64_t InputBatch::pending_bytes() const {
  uint64_t bytes = 0;
  for (const PendingInput& pending : pending_) bytes += pending.bytes;
  return bytes;
}

void InputBatch::HandOver(Run& run, const std::vector<uint64_t>& input_ends) {
  const auto& inputs = run.plan->passes[run.units.pass].inputs;
  std::array<uint64_t, kSegmentsMax> ends{};  // of the run's part of each input, in the tensor
  std::array<uint64_t, kSegmentsMax> copied_ends{};
  std::array<const std::byte*, kSegmentsMax> run_ends{};  // and in the region
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].whole_tensor()) continue;
    const auto [begin, end] = run.plan->BytesOf(inputs[i], run.units.begin_unit, run.units.end_unit);
    run.input_bytes += end - begin;
    ends[i] = end;
    copied_ends[i] = input_ends[i];
    run_ends[i] = run.units.inputs[i] + (end - begin);
  }
  std::vector<PendingInput> later;
  for (PendingInput& pending : pending_) {
    copied_ends[pending.input] -= pending.bytes;
    const std::byte* const run_end = run_ends[pending.input];
    if (pending.target >= run_end) {
      later.push_back(std::move(pending));
      continue;
    }
    const uint64_t own_bytes = static_cast<uint64_t>(run_end - pending.target);
    if (pending.bytes > own_bytes) later.push_back(SplitOff(pending, own_bytes));
    run.pending.push_back(std::move(pending));
  }
  pending_ = std::move(later);
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].whole_tensor()) continue;
    std::optional<uint32_t>& crc = copied_crc32c_[i];
    if (copied_ends[i] > ends[i]) crc.reset();
    run.input_crc32c[i] = crc;
    if (crc.has_value()) crc = 0;
  }
  submitted_unit = run.units.end_unit;
}

}  // namespace quantd::server
