#include "tests/support/pieces_backend.h"

#include <algorithm>
#include <deque>
#include <utility>
#include <vector>

namespace quantd::testing {
namespace {

class PiecesBackend final : public Backend {
 public:
  PiecesBackend(std::unique_ptr<Backend> backend, uint64_t pieces_max)
      : backend_(std::move(backend)), pieces_max_(pieces_max) {}

  std::string_view name() const override { return backend_->name(); }
  std::string_view target() const override { return backend_->target(); }

  absl::StatusOr<BatchResult> Run(const Plan& plan, const UnitBatch& batch,
                                  const std::atomic<bool>& cancelled) override {
    const uint64_t units = batch.end_unit - batch.begin_unit;
    const uint64_t pieces = std::clamp<uint64_t>(units, 1, pieces_max_);
    std::deque<UnitBatch> batches;
    std::vector<BatchRun> runs;
    for (uint64_t i = 0; i < pieces; ++i) {
      batches.push_back(
          PieceOf(plan, batch, batch.begin_unit + units * i / pieces, batch.begin_unit + units * (i + 1) / pieces));
      runs.push_back({plan, batches.back(), cancelled});
    }
    backend_->RunTogether(runs);
    BatchResult all;
    for (const BatchRun& run : runs) {
      if (!run.result.ok()) return run.result.status();
      all.Merge(*run.result);
    }
    return all;
  }

 private:
  static UnitBatch PieceOf(const Plan& plan, const UnitBatch& batch, uint64_t begin_unit, uint64_t end_unit) {
    const Pass& pass = plan.passes[batch.pass];
    UnitBatch piece = batch;
    piece.begin_unit = begin_unit;
    piece.end_unit = end_unit;
    const auto distance = [&](const SegmentLayout& segment) -> uint64_t {
      if (segment.whole_tensor()) return 0;
      return plan.BytesOf(segment, begin_unit, end_unit).first -
             plan.BytesOf(segment, batch.begin_unit, batch.end_unit).first;
    };
    for (size_t i = 0; i < pass.inputs.size(); ++i) piece.inputs[i] += distance(pass.inputs[i]);
    for (size_t i = 0; i < pass.outputs.size(); ++i) {
      if (piece.outputs[i] != nullptr) piece.outputs[i] += distance(pass.outputs[i]);
    }
    return piece;
  }

  const std::unique_ptr<Backend> backend_;
  const uint64_t pieces_max_;
};

}  // namespace

std::unique_ptr<Backend> MakePiecesBackend(std::unique_ptr<Backend> backend, uint64_t pieces_max) {
  return std::make_unique<PiecesBackend>(std::move(backend), pieces_max);
}

}  // namespace quantd::testing
