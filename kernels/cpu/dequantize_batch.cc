#include "kernels/cpu/dequantize_batch.h"

#include <algorithm>
#include <vector>

#include "kernels/base/checked_math.h"
#include "kernels/cpu/nested_scales.h"
#include "kernels/cpu/segment_pointers.h"
#include "kernels/cpu/zero_points.h"
#include "kernels/format/value_types.h"
#include "kernels/scheme/ggml_layout.h"

namespace quantd {
namespace {

// One call of Run: walks the batch in strips between looks at `cancelled`.
class Dequantizer {
 public:
  Dequantizer(const KernelTable& kernels, const Plan& plan, const UnitBatch& batch, const std::atomic<bool>& cancelled)
      : kernels_(kernels),
        plan_(plan),
        recipe_(plan.recipe),
        batch_(batch),
        cancelled_(cancelled),
        decode_(kernels.decode[static_cast<size_t>(recipe_.restore)][static_cast<size_t>(recipe_.element)]
                              [FloatTypeIndex(plan.values_dtype)]),
        restore_scale_(
            kernels.restore_scale[static_cast<size_t>(recipe_.method)][FloatTypeIndex(recipe_.scale_rounding)]),
        parameters_(ParametersFrom(plan, batch.inputs)),
        scale_parameters_(recipe_.scale),
        codes_(InputOf(plan, batch, kCodesSegment)),
        scales_in_(InputOf(plan, batch, kScalesSegment)),
        zeros_in_(InputOf(plan, batch, kZeroPointsSegment)),
        values_(batch.outputs[0]),
        element_count_(plan.ElementsOf(batch.begin_unit, batch.end_unit)) {
    scale_parameters_.global_scale = parameters_.global_scale;
  }

  // False after a cancel.
  bool Run() {
    if (const std::byte* blocks = InputOf(plan_, batch_, kBlocksSegment)) return DecodeBlocks(blocks);
    if (plan_.scheme.double_quant) return DecodeNested();
    if (plan_.unit_rows > 0) return DecodeBands();
    return plan_.HasScalePerRun() ? DecodeRuns() : DecodeWholeTensor();
  }

 private:
  bool IsCancelled() const { return cancelled_.load(std::memory_order_relaxed); }
  uint64_t BitsOf(uint64_t elements) const { return elements * static_cast<uint64_t>(InfoOf(recipe_.element).bits); }
  std::byte* ValueAt(uint64_t element) const { return values_ + element * SizeBytes(plan_.values_dtype); }

  // Elements [begin, end) of the batch, which lie in one row.
  void Decode(uint64_t begin, uint64_t end, uint64_t run_elements, const std::byte* codes, const float* scales,
              const float* zeros) const {
    decode_({.codes = codes,
             .element_count = end - begin,
             .run_elements = run_elements,
             .scales = scales,
             .zeros = zeros,
             .code_xor = recipe_.code_xor,
             .values = ValueAt(begin)});
  }

  // Scales of `count` runs from the batch's run `first` on.
  void RestoreScales(uint64_t first, uint64_t count) {
    scales_.resize(std::max<size_t>(scales_.size(), count));
    restore_scale_({count, scales_in_ + first * SizeBytes(recipe_.scale_dtype), &scale_parameters_, scales_.data()});
  }

  const float* ZerosAt(uint64_t first, uint64_t count) {
    if (!recipe_.has_zero_points) return nullptr;
    zeros_.resize(std::max<size_t>(zeros_.size(), count));
    LoadZeroPoints(zeros_in_ + first, count, zeros_.data());
    return zeros_.data();
  }

  template <class Function>
  bool ForEachStrip(uint64_t begin, uint64_t end, Function function) {
    const uint64_t step = StripElements(plan_.run_elements);
    for (uint64_t at = begin; at < end; at += step) {
      if (IsCancelled()) return false;
      function(at, std::min(at + step, end));
    }
    return true;
  }

  bool DecodeWholeTensor() {
    const bool scaled = recipe_.method != ScaleMethod::kNone;
    return ForEachStrip(0, element_count_, [&](uint64_t begin, uint64_t end) {
      Decode(begin, end, end - begin, codes_ + BitsOf(begin) / 8, scaled ? &parameters_.scale.factor : nullptr,
             recipe_.has_zero_points ? &parameters_.scale.zero : nullptr);
    });
  }

  bool DecodeRuns() {
    return ForEachStrip(0, element_count_, [&](uint64_t begin, uint64_t end) {
      const uint64_t first = begin / plan_.run_elements;
      const uint64_t count = CeilDiv(end - begin, plan_.run_elements);
      RestoreScales(first, count);
      Decode(begin, end, plan_.run_elements, codes_ + BitsOf(begin) / 8, scales_.data(), ZerosAt(first, count));
    });
  }

  bool DecodeBands() {
    const uint64_t rows = plan_.columns == 0 ? 0 : element_count_ / plan_.columns;
    const uint64_t runs = CeilDiv(plan_.columns, plan_.run_elements);
    const bool tiles = plan_.scheme.grouping == Grouping::kTile;
    for (uint64_t row = 0; row < rows; ++row) {
      if (IsCancelled()) return false;
      const uint64_t band = row / plan_.unit_rows;
      if (!tiles || row % plan_.unit_rows == 0) RestoreScales((tiles ? band : row) * runs, runs);
      const float* zeros = nullptr;
      if (recipe_.packed_zero_points) {
        if (row % plan_.unit_rows == 0) UnpackBand(band, runs);
        zeros = zeros_.data() + row % plan_.unit_rows * runs;
      } else {
        zeros = ZerosAt((tiles ? band : row) * runs, runs);
      }
      Decode(row * plan_.columns, (row + 1) * plan_.columns, plan_.run_elements, codes_ + row * plan_.row_code_bytes,
             scales_.data(), zeros);
    }
    return true;
  }

  void UnpackBand(uint64_t band, uint64_t runs) {
    zeros_.resize(plan_.unit_rows * runs);
    UnpackZeroPoints(zeros_in_ + band * runs * sizeof(uint32_t), plan_.unit_rows, runs, zeros_.data());
  }

  bool DecodeNested() {
    const uint64_t nested_elements = plan_.run_elements * kNestedBlockScales;
    const std::byte* const nested_scales = InputOf(plan_, batch_, kNestedScalesSegment);
    scales_.resize(kNestedBlockScales);
    for (uint64_t begin = 0; begin < element_count_; begin += nested_elements) {
      const uint64_t end = std::min(begin + nested_elements, element_count_);
      DecodeNestedBlock(plan_.scheme.nested_code, scales_in_ + begin / plan_.run_elements,
                        static_cast<uint32_t>(CeilDiv(end - begin, plan_.run_elements)),
                        LoadUnaligned<float>(nested_scales + begin / nested_elements * sizeof(float)),
                        parameters_.offset, reinterpret_cast<std::byte*>(scales_.data()));
      const bool decoded = ForEachStrip(begin, end, [&](uint64_t from, uint64_t to) {
        Decode(from, to, plan_.run_elements, codes_ + BitsOf(from) / 8,
               scales_.data() + (from - begin) / plan_.run_elements, nullptr);
      });
      if (!decoded) return false;
    }
    return true;
  }

  bool DecodeBlocks(const std::byte* blocks) {
    const auto decode = kernels_.ggml[GgmlBlockIndex(plan_.scheme)].decode[FloatTypeIndex(plan_.values_dtype)];
    return ForEachStrip(0, element_count_, [&](uint64_t begin, uint64_t end) {
      decode(blocks + begin / kGgmlBlockElements * GgmlBlockBytes(plan_.scheme), end - begin, ValueAt(begin));
    });
  }

  const KernelTable& kernels_;
  const Plan& plan_;
  const Recipe& recipe_;
  const UnitBatch& batch_;
  const std::atomic<bool>& cancelled_;
  DecodeFunction decode_;
  RestoreScaleFunction restore_scale_;
  TensorParameters parameters_;
  ScaleParameters scale_parameters_;
  const std::byte* codes_;
  const std::byte* scales_in_;
  const std::byte* zeros_in_;
  std::byte* values_;
  uint64_t element_count_;
  std::vector<float> scales_;
  std::vector<float> zeros_;
};

}  // namespace

absl::Status DequantizeBatch(const KernelTable& kernels, const Plan& plan, const UnitBatch& batch,
                             const std::atomic<bool>& cancelled) {
  if (Dequantizer(kernels, plan, batch, cancelled).Run()) return absl::OkStatus();
  return absl::CancelledError("the tensor's work was cancelled");
}

}  // namespace quantd
