#include "kernels/cpu/cpu_backend.h"

#include <algorithm>
#include <cassert>

#include "kernels/base/checked_math.h"
#include "kernels/base/error.h"
#include "kernels/cpu/float_environment.h"
#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/nested_scales.h"
#include "kernels/cpu/value_types.h"

namespace quantd {
namespace {

absl::Status Cancelled() { return absl::CancelledError("the tensor's work was cancelled"); }

// Where the batch's bytes of each segment are. Null: the pass has no such segment.
struct InputPointers {
  explicit InputPointers(const Pass& pass, const UnitBatch& batch) : pass_(pass), batch_(batch) {}
  const std::byte* operator[](std::string_view name) const {
    for (size_t i = 0; i < pass_.inputs.size(); ++i) {
      if (pass_.inputs[i].name == name) return batch_.inputs[i];
    }
    return nullptr;
  }

 private:
  const Pass& pass_;
  const UnitBatch& batch_;
};

struct OutputPointers {
  explicit OutputPointers(const Pass& pass, const UnitBatch& batch) : pass_(pass), batch_(batch) {}
  std::byte* operator[](std::string_view name) const {
    for (size_t i = 0; i < pass_.outputs.size(); ++i) {
      if (pass_.outputs[i].name == name) return batch_.outputs[i];
    }
    return nullptr;
  }

 private:
  const Pass& pass_;
  const UnitBatch& batch_;
};

// One call of Run: walks the batch in runs of whole blocks between looks at `cancelled`.
class BatchRun {
 public:
  BatchRun(const KernelTable& kernels, const Plan& plan, const UnitBatch& batch, const std::atomic<bool>& cancelled)
      : plan_(plan),
        scheme_(plan.scheme),
        batch_(batch),
        cancelled_(cancelled),
        inputs_(plan.passes[batch.pass], batch),
        outputs_(plan.passes[batch.pass], batch),
        encode_(kernels.encode[Index(scheme_.arithmetic)][Index(scheme_.element)][ValueTypeIndex(plan.values_dtype)]),
        decode_(kernels.decode[Index(scheme_.arithmetic)][Index(scheme_.element)][ValueTypeIndex(plan.values_dtype)]),
        element_count_(plan.ElementsOf(batch.begin_unit, batch.end_unit)) {}

  absl::StatusOr<BatchResult> Run() {
    if (plan_.direction == Direction::kDequantize) return scheme_.double_quant ? DecodeNested() : DecodeFlat();
    if (batch_.pass == 1) return EncodeSpooledScales();
    return outputs_[kNestedScalesSegment] != nullptr ? EncodeNested() : EncodeFlat();
  }

 private:
  template <class Enum>
  static constexpr size_t Index(Enum value) {
    return static_cast<size_t>(value);
  }

  uint64_t value_bytes() const { return SizeBytes(plan_.values_dtype); }
  // Elements of a run: whole blocks, as many as may pass between two looks at `cancelled`.
  uint64_t run_elements() const {
    return std::max<uint64_t>(kCancelElements / scheme_.block_size, 1) * scheme_.block_size;
  }
  uint64_t nested_elements() const { return uint64_t{scheme_.block_size} * kNestedBlockScales; }
  bool IsCancelled() const { return cancelled_.load(std::memory_order_relaxed); }

  // Elements [begin, end) of the batch; their scales go to `scales`. False after a cancel.
  bool EncodeRange(uint64_t begin, uint64_t end, std::byte* scales) {
    const std::byte* values = inputs_[kValuesSegment];
    std::byte* codes = outputs_[kCodesSegment];
    const uint64_t batch_first = batch_.begin_unit * plan_.unit_elements;
    for (uint64_t at = begin; at < end; at += run_elements()) {
      if (IsCancelled()) return false;
      encode_({.values = values + at * value_bytes(),
               .element_count = std::min(run_elements(), end - at),
               .first_element = batch_first + at,
               .block_size = scheme_.block_size,
               .nonfinite = scheme_.nonfinite,
               .codes = codes + at / 2,
               .scales = scales + (at - begin) / scheme_.block_size * sizeof(float)},
              result_);
    }
    return true;
  }

  bool DecodeRange(uint64_t begin, uint64_t end, const std::byte* scales) {
    const std::byte* codes = inputs_[kCodesSegment];
    std::byte* values = outputs_[kValuesSegment];
    for (uint64_t at = begin; at < end; at += run_elements()) {
      if (IsCancelled()) return false;
      decode_({.codes = codes + at / 2,
               .scales = scales + (at - begin) / scheme_.block_size * sizeof(float),
               .element_count = std::min(run_elements(), end - at),
               .block_size = scheme_.block_size,
               .values = values + at * value_bytes()});
    }
    return true;
  }

  absl::StatusOr<BatchResult> EncodeFlat() {
    std::byte* scales = outputs_[kScalesSegment];
    if (scales == nullptr) scales = outputs_[kSpooledScalesSegment];
    if (!EncodeRange(0, element_count_, scales)) return Cancelled();
    return result_;
  }

  absl::StatusOr<BatchResult> DecodeFlat() {
    if (!DecodeRange(0, element_count_, inputs_[kScalesSegment])) return Cancelled();
    return result_;
  }

  absl::StatusOr<BatchResult> EncodeNested() {
    std::byte scales[kNestedBlockScales * sizeof(float)];
    for (uint64_t begin = 0; begin < element_count_; begin += nested_elements()) {
      const uint64_t end = std::min(begin + nested_elements(), element_count_);
      if (!EncodeRange(begin, end, scales)) return Cancelled();
      EncodeNestedScales(scales, begin, end);
    }
    return result_;
  }

  absl::StatusOr<BatchResult> EncodeSpooledScales() {
    const std::byte* scales = inputs_[kSpooledScalesSegment];
    for (uint64_t begin = 0; begin < element_count_; begin += nested_elements()) {
      if (IsCancelled()) return Cancelled();
      const uint64_t end = std::min(begin + nested_elements(), element_count_);
      EncodeNestedScales(scales + begin / scheme_.block_size * sizeof(float), begin, end);
    }
    return result_;
  }

  // The scales of elements [begin, end), one nested block.
  void EncodeNestedScales(const std::byte* scales, uint64_t begin, uint64_t end) {
    EncodeNestedBlock(scales, BlocksOf(begin, end), batch_.offset,
                      outputs_[kScalesSegment] + begin / scheme_.block_size,
                      outputs_[kNestedScalesSegment] + begin / nested_elements() * sizeof(float));
  }

  absl::StatusOr<BatchResult> DecodeNested() {
    const std::byte* codes = inputs_[kScalesSegment];
    const std::byte* nested_scales = inputs_[kNestedScalesSegment];
    const auto offset = LoadUnaligned<float>(inputs_[kOffsetSegment]);
    std::byte scales[kNestedBlockScales * sizeof(float)];
    for (uint64_t begin = 0; begin < element_count_; begin += nested_elements()) {
      const uint64_t end = std::min(begin + nested_elements(), element_count_);
      const auto nested_scale = LoadUnaligned<float>(nested_scales + begin / nested_elements() * sizeof(float));
      DecodeNestedBlock(codes + begin / scheme_.block_size, BlocksOf(begin, end), nested_scale, offset, scales);
      if (!DecodeRange(begin, end, scales)) return Cancelled();
    }
    return result_;
  }

  uint32_t BlocksOf(uint64_t begin, uint64_t end) const {
    return static_cast<uint32_t>(CeilDiv(end - begin, scheme_.block_size));
  }

  const Plan& plan_;
  const Scheme& scheme_;
  const UnitBatch& batch_;
  const std::atomic<bool>& cancelled_;
  InputPointers inputs_;
  OutputPointers outputs_;
  EncodeFunction encode_;
  DecodeFunction decode_;
  uint64_t element_count_;
  BatchResult result_;
};

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(const KernelTable& kernels) : kernels_(kernels) {}

  std::string_view name() const override { return "cpu"; }

  absl::StatusOr<BatchResult> Run(const Plan& plan, const UnitBatch& batch,
                                  const std::atomic<bool>& cancelled) override {
    assert(batch.pass < plan.passes.size() && batch.begin_unit <= batch.end_unit &&
           batch.end_unit <= plan.unit_count());
    const ScopedFloatEnvironment environment;
    return BatchRun(kernels_, plan, batch, cancelled).Run();
  }

 private:
  const KernelTable& kernels_;
};

}  // namespace

std::unique_ptr<Backend> MakeCpuBackend() { return MakeCpuBackend(BestKernels()); }

std::unique_ptr<Backend> MakeCpuBackend(const KernelTable& kernels) { return std::make_unique<CpuBackend>(kernels); }

std::string_view CpuTarget() { return BestKernels().target; }

}  // namespace quantd
