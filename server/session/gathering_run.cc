#include "server/session/gathering_run.h"

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "kernels/base/checked_math.h"
#include "kernels/base/status_macros.h"

namespace quantd::server {
namespace {

constexpr uint64_t kScratchBytes = 256 << 10;  // fits a core's own cache, beside what it is read from
constexpr uint64_t kCacheLineBytes = 64;

class GatheringRun {
 public:
  GatheringRun(Run& run, Backend& backend, const Clock& clock)
      : run_(run), backend_(backend), clock_(clock), pending_(std::exchange(run.pending, {})) {}

  absl::StatusOr<BatchResult> RunBackend() {
    const uint64_t step_units = ChooseInputs();
    if (step_units == 0) {
      run_.pending = std::move(pending_);
      QUANTD_RETURN_IF_ERROR(GatherInput(run_, clock_));
      return backend_.Run(*run_.plan, run_.units, *run_.cancelled);
    }
    const auto scratch = std::make_unique_for_overwrite<std::byte[]>(kScratchBytes);
    BatchResult result;
    for (uint64_t begin = run_.units.begin_unit; begin < run_.units.end_unit; begin += step_units) {
      const uint64_t end = std::min(begin + step_units, run_.units.end_unit);
      const UnitBatch step = Fill(begin, end, scratch.get());
      QUANTD_ASSIGN_OR_RETURN(const BatchResult found, backend_.Run(*run_.plan, step, *run_.cancelled));
      result.Merge(found);
    }
    for (const auto& reader : readers_) {
      if (reader.has_value()) QUANTD_RETURN_IF_ERROR(reader->status());
    }
    return result;
  }

 private:
  const std::vector<SegmentLayout>& inputs() const { return run_.plan->passes[run_.units.pass].inputs; }

  // Readers for those inputs of which all is pending. Returns how many units of them the scratch memory holds.
  uint64_t ChooseInputs() {
    uint64_t unit_bytes = 0;
    for (size_t i = 0; i < inputs().size(); ++i) {
      if (inputs()[i].whole_tensor()) continue;
      const auto [begin, end] = run_.plan->BytesOf(inputs()[i], run_.units.begin_unit, run_.units.end_unit);
      PendingReader reader(pending_, i);
      if (reader.bytes_left() == 0) continue;
      if (reader.bytes_left() < end - begin) return 0;
      readers_[i].emplace(std::move(reader));
      run_.input_crc32c[i].reset();  // of what is in the slot
      unit_bytes += inputs()[i].unit_bytes;
    }
    const uint64_t usable_bytes = kScratchBytes - kSegmentsMax * kCacheLineBytes;
    return unit_bytes == 0 ? 0 : usable_bytes / unit_bytes;
  }

  UnitBatch Fill(uint64_t begin_unit, uint64_t end_unit, std::byte* scratch) {
    const absl::Time started_at = clock_.Now();
    UnitBatch step = run_.units;
    step.begin_unit = begin_unit;
    step.end_unit = end_unit;
    const uint64_t units_before = begin_unit - run_.units.begin_unit;
    for (size_t i = 0; i < inputs().size(); ++i) {
      if (inputs()[i].whole_tensor()) continue;
      if (!readers_[i].has_value()) {
        step.inputs[i] += units_before * inputs()[i].unit_bytes;
        continue;
      }
      const auto [begin, end] = run_.plan->BytesOf(inputs()[i], begin_unit, end_unit);
      readers_[i]->CopyTo(scratch, end - begin);
      step.inputs[i] = scratch;
      scratch += CeilDiv(end - begin, kCacheLineBytes) * kCacheLineBytes;
    }
    const auto& outputs = run_.plan->passes[run_.units.pass].outputs;
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (!outputs[i].whole_tensor()) step.outputs[i] += units_before * outputs[i].unit_bytes;
    }
    run_.receive_time += clock_.Now() - started_at;
    return step;
  }

  Run& run_;
  Backend& backend_;
  const Clock& clock_;
  std::vector<PendingInput> pending_;
  std::array<std::optional<PendingReader>, kSegmentsMax> readers_;
};

}  // namespace

absl::StatusOr<BatchResult> GatherAndRun(Run& run, Backend& backend, const Clock& clock) {
  if (run.pending.empty()) return backend.Run(*run.plan, run.units, *run.cancelled);
  return GatheringRun(run, backend, clock).RunBackend();
}

}  // namespace quantd::server
