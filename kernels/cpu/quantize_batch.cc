#include "kernels/cpu/quantize_batch.h"

#include <algorithm>
#include <cstring>

#include "kernels/base/checked_math.h"
#include "kernels/cpu/error_metrics.h"
#include "kernels/cpu/nested_scales.h"
#include "kernels/cpu/segment_pointers.h"
#include "kernels/cpu/smoothed_values.h"
#include "kernels/cpu/strip_encoder.h"
#include "kernels/cpu/zero_points.h"
#include "kernels/format/value_types.h"
#include "kernels/scheme/ggml_layout.h"

namespace quantd {
namespace {

uint64_t RunsMax(const Plan& plan) {
  const uint64_t row = plan.unit_rows > 0 ? CeilDiv(plan.columns, plan.run_elements) : 0;
  return std::max({row, StripElements(plan.run_elements) / plan.run_elements, uint64_t{kNestedBlockScales}});
}

// Null in the second pass over spooled scales.
const std::byte* ValuesOf(const Plan& plan, const UnitBatch& batch) {
  const std::byte* const values = InputOf(plan, batch, kValuesSegment);
  return values != nullptr ? values : InputOf(plan, batch, kSpooledValuesSegment);
}

// One call of Run: walks the batch in strips between looks at `cancelled`.
class Quantizer {
 public:
  Quantizer(const KernelTable& kernels, const Plan& plan, const UnitBatch& batch, const std::atomic<bool>& cancelled)
      : kernels_(kernels),
        plan_(plan),
        batch_(batch),
        cancelled_(cancelled),
        values_(ValuesOf(plan, batch)),
        codes_(OutputOf(plan, batch, kCodesSegment)),
        scales_(OutputOf(plan, batch, kScalesSegment)),
        scale_bytes_(SizeBytes(plan.recipe.scale_dtype)),
        element_count_(plan.ElementsOf(batch.begin_unit, batch.end_unit)),
        smoothed_(kernels, plan, batch),
        encoder_(kernels, plan, batch, RunsMax(plan), result_) {}

  // False after a cancel.
  bool Run() {
    if (std::byte* spooled = OutputOf(plan_, batch_, kSpooledValuesSegment)) return SpoolValues(spooled);
    if (std::byte* spooled = OutputOf(plan_, batch_, kSpooledScalesSegment)) {
      return EncodeRuns(0, element_count_, spooled);
    }
    if (const std::byte* spooled = InputOf(plan_, batch_, kSpooledScalesSegment)) return EncodeSpooledScales(spooled);
    if (std::byte* blocks = OutputOf(plan_, batch_, kBlocksSegment)) return EncodeBlocks(blocks);
    if (plan_.scheme.double_quant) return EncodeNested();
    if (plan_.unit_rows > 0) return EncodeBands();
    return EncodeRuns(0, element_count_, plan_.HasScalePerRun() ? scales_ : nullptr);
  }

  const BatchResult& result() const { return result_; }

 private:
  bool IsCancelled() const { return cancelled_.load(std::memory_order_relaxed); }
  uint64_t BitsOf(uint64_t elements) const {
    return elements * static_cast<uint64_t>(InfoOf(plan_.recipe.element).bits);
  }

  // Elements [begin, end) of the batch, as `rows` rows. Valid until the next call.
  Strip StripOf(uint64_t begin, uint64_t end, uint64_t run_elements, uint64_t rows = 1) {
    return smoothed_.Of({.values = values_ + begin * SizeBytes(plan_.values_dtype),
                         .dtype = plan_.values_dtype,
                         .rows = rows,
                         .row_elements = (end - begin) / rows,
                         .run_elements = run_elements,
                         .first_element = batch_.begin_unit * plan_.unit_elements + begin});
  }

  // Calls function(begin, end) for strips of whole runs of [begin, end). False after a cancel.
  template <class Function>
  bool ForEachStrip(uint64_t begin, uint64_t end, Function function) {
    const uint64_t step = StripElements(plan_.run_elements);
    for (uint64_t at = begin; at < end; at += step) {
      if (IsCancelled()) return false;
      function(at, std::min(at + step, end));
    }
    return true;
  }

  bool SpoolValues(std::byte* spooled) {
    return ForEachStrip(0, element_count_, [&](uint64_t begin, uint64_t end) {
      const Strip strip = StripOf(begin, end, end - begin);
      const uint64_t value_bytes = SizeBytes(strip.dtype);
      std::memcpy(spooled + begin * value_bytes, strip.values, strip.element_count() * value_bytes);
      encoder_.Examine(strip);
    });
  }

  // Runs of the flattened tensor. The scales of [begin, end) go to `scales`; null: all share the tensor's.
  bool EncodeRuns(uint64_t begin, uint64_t end, std::byte* scales) {
    return ForEachStrip(begin, end, [&](uint64_t from, uint64_t to) {
      const Strip strip = StripOf(from, to, scales == nullptr ? to - from : plan_.run_elements);
      std::byte* const codes = codes_ + BitsOf(from) / 8;
      std::byte* const strip_scales =
          scales == nullptr ? nullptr : scales + (from - begin) / plan_.run_elements * scale_bytes_;
      encoder_.Encode(strip, strip_scales, codes);
      if (plan_.recipe.has_zero_points && scales != nullptr) {
        StoreZeroPoints(encoder_.zeros(), strip.run_count(),
                        OutputOf(plan_, batch_, kZeroPointsSegment) + from / plan_.run_elements);
      }
      if (batch_.error_metrics && !plan_.scheme.double_quant) AddErrors(strip, strip_scales, codes);
    });
  }

  // Units of whole rows.
  bool EncodeBands() {
    const uint64_t rows = plan_.columns == 0 ? 0 : element_count_ / plan_.columns;
    for (uint64_t begin = 0; begin < rows; begin += plan_.unit_rows) {
      const uint64_t end = std::min(begin + plan_.unit_rows, rows);
      const bool encoded = plan_.scheme.grouping == Grouping::kTile ? EncodeTiles(begin, end) : EncodeRows(begin, end);
      if (!encoded) return false;
    }
    return true;
  }

  bool EncodeTiles(uint64_t begin, uint64_t end) {
    if (IsCancelled()) return false;
    const Strip strip = StripOf(begin * plan_.columns, end * plan_.columns, plan_.run_elements, end - begin);
    std::byte* const scales = scales_ + begin / plan_.unit_rows * strip.run_count() * scale_bytes_;
    std::byte* const codes = codes_ + begin * plan_.row_code_bytes;
    encoder_.Encode(strip, scales, codes);
    if (plan_.recipe.has_zero_points) {
      StoreZeroPoints(encoder_.zeros(), strip.run_count(),
                      OutputOf(plan_, batch_, kZeroPointsSegment) + begin / plan_.unit_rows * strip.run_count());
    }
    if (batch_.error_metrics) AddErrors(strip, scales, codes);
    return true;
  }

  // Rows on their own, one scale or several in each.
  bool EncodeRows(uint64_t begin, uint64_t end) {
    const uint64_t runs = CeilDiv(plan_.columns, plan_.run_elements);
    band_zeros_.resize((end - begin) * runs);
    for (uint64_t row = begin; row < end; ++row) {
      if (IsCancelled()) return false;
      const Strip strip = StripOf(row * plan_.columns, (row + 1) * plan_.columns, plan_.run_elements);
      std::byte* const scales = scales_ + row * runs * scale_bytes_;
      std::byte* const codes = codes_ + row * plan_.row_code_bytes;
      if (plan_.recipe.packed_words)
        std::memset(codes + BitsOf(plan_.columns) / 8, 0, plan_.row_code_bytes - BitsOf(plan_.columns) / 8);
      encoder_.Encode(strip, scales, codes);
      if (plan_.recipe.has_zero_points) std::copy_n(encoder_.zeros(), runs, &band_zeros_[(row - begin) * runs]);
      if (batch_.error_metrics) AddErrors(strip, scales, codes);
    }
    if (!plan_.recipe.has_zero_points) return true;
    std::byte* const stored = OutputOf(plan_, batch_, kZeroPointsSegment);
    if (plan_.recipe.packed_zero_points) {
      PackZeroPoints(band_zeros_.data(), end - begin, runs, stored + begin / plan_.unit_rows * runs * sizeof(uint32_t));
    } else {
      StoreZeroPoints(band_zeros_.data(), band_zeros_.size(), stored + begin * runs);
    }
    return true;
  }

  bool EncodeBlocks(std::byte* blocks) {
    return ForEachStrip(0, element_count_, [&](uint64_t begin, uint64_t end) {
      const Strip strip = StripOf(begin, end, kGgmlBlockElements);
      std::byte* const target = blocks + begin / kGgmlBlockElements * GgmlBlockBytes(plan_.scheme);
      encoder_.EncodeBlocks(strip, target);
      if (!batch_.error_metrics) return;
      decoded_.resize(strip.element_count());
      kernels_.ggml[GgmlBlockIndex(plan_.scheme)].decode[FloatTypeIndex(DataType::kFloat32)](
          target, strip.element_count(), reinterpret_cast<std::byte*>(decoded_.data()));
      quantd::AddErrors(strip, decoded_.data(), result_.errors);
    });
  }

  // ---- Double quantization ----

  uint64_t nested_elements() const { return plan_.run_elements * kNestedBlockScales; }

  bool EncodeNested() {
    std::byte scales[kNestedBlockScales * sizeof(float)];
    for (uint64_t begin = 0; begin < element_count_; begin += nested_elements()) {
      const uint64_t end = std::min(begin + nested_elements(), element_count_);
      if (!EncodeRuns(begin, end, scales)) return false;
      EncodeScales(scales, begin, end);
      if (batch_.error_metrics && !AddNestedErrors(begin, end)) return false;
    }
    return true;
  }

  bool EncodeSpooledScales(const std::byte* scales) {
    for (uint64_t begin = 0; begin < element_count_; begin += nested_elements()) {
      if (IsCancelled()) return false;
      const uint64_t end = std::min(begin + nested_elements(), element_count_);
      EncodeScales(scales + begin / plan_.run_elements * sizeof(float), begin, end);
    }
    return true;
  }

  // The scales of elements [begin, end), one nested block.
  void EncodeScales(const std::byte* scales, uint64_t begin, uint64_t end) {
    EncodeNestedBlock(plan_.scheme.nested_code, scales, static_cast<uint32_t>(CeilDiv(end - begin, plan_.run_elements)),
                      batch_.parameters.offset, scales_ + begin / plan_.run_elements, NestedScale(begin));
  }

  std::byte* NestedScale(uint64_t begin) const {
    return OutputOf(plan_, batch_, kNestedScalesSegment) + begin / nested_elements() * sizeof(float);
  }

  bool AddNestedErrors(uint64_t begin, uint64_t end) {
    restored_.resize(kNestedBlockScales);
    DecodeNestedBlock(plan_.scheme.nested_code, scales_ + begin / plan_.run_elements,
                      static_cast<uint32_t>(CeilDiv(end - begin, plan_.run_elements)),
                      LoadUnaligned<float>(NestedScale(begin)), batch_.parameters.offset,
                      reinterpret_cast<std::byte*>(restored_.data()));
    return ForEachStrip(begin, end, [&](uint64_t from, uint64_t to) {
      encoder_.AddErrorsOf(StripOf(from, to, plan_.run_elements),
                           restored_.data() + (from - begin) / plan_.run_elements, codes_ + BitsOf(from) / 8);
    });
  }

  // ---- Error metrics ----

  // `scales` as Encode stored them; null: the tensor's, or none.
  void AddErrors(const Strip& strip, const std::byte* scales, const std::byte* codes) {
    if (plan_.recipe.method == ScaleMethod::kNone) return encoder_.AddErrorsOf(strip, nullptr, codes);
    restored_.resize(std::max<size_t>(restored_.size(), strip.run_count()));
    if (scales == nullptr) {
      std::ranges::fill(restored_, batch_.parameters.scale.factor);
    } else {
      ScaleParameters parameters = plan_.recipe.scale;
      parameters.global_scale = batch_.parameters.global_scale;
      kernels_.restore_scale[static_cast<size_t>(plan_.recipe.method)][FloatTypeIndex(plan_.recipe.scale_rounding)](
          {strip.run_count(), scales, &parameters, restored_.data()});
    }
    encoder_.AddErrorsOf(strip, restored_.data(), codes);
  }

  const KernelTable& kernels_;
  const Plan& plan_;
  const UnitBatch& batch_;
  const std::atomic<bool>& cancelled_;
  const std::byte* values_;
  std::byte* codes_;
  std::byte* scales_;
  uint64_t scale_bytes_;
  uint64_t element_count_;
  BatchResult result_;
  SmoothedValues smoothed_;
  StripEncoder encoder_;
  std::vector<float> band_zeros_;
  std::vector<float> restored_;
  std::vector<float> decoded_;
};

}  // namespace

absl::StatusOr<BatchResult> QuantizeBatch(const KernelTable& kernels, const Plan& plan, const UnitBatch& batch,
                                          const std::atomic<bool>& cancelled) {
  Quantizer quantizer(kernels, plan, batch, cancelled);
  if (!quantizer.Run()) return absl::CancelledError("the tensor's work was cancelled");
  return quantizer.result();
}

}  // namespace quantd
