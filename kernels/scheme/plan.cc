#include "kernels/scheme/plan.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "kernels/base/checked_math.h"
#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "kernels/base/status_macros.h"
#include "kernels/format/format_list.h"
#include "kernels/scheme/segments.h"

namespace quantd {
namespace {

absl::Status InvalidShape(const std::string& message) {
  return InvalidArgument(reason::kInvalidShape, message, {{"limit_bytes", absl::StrCat(kTensorBytesMax)}});
}

absl::Status CheckDtype(DataType dtype) {
  const auto known = DataTypeNumbered(static_cast<int>(dtype));
  if (known.has_value() && InfoOf(*known).is_float) return absl::OkStatus();
  return InvalidArgument(reason::kInvalidDtype,
                         "values must be float32, float16 or bfloat16; convert the tensor, or leave it as it is");
}

absl::StatusOr<uint64_t> CountElements(DataType dtype, std::span<const uint64_t> shape) {
  if (shape.size() > kRankMax) {
    return InvalidShape(absl::StrCat("the shape has ", shape.size(), " extents, at most ", kRankMax,
                                     " are possible; merge some of them"));
  }
  const uint64_t elements_max = kTensorBytesMax / SizeBytes(dtype);
  uint64_t count = 1;
  uint64_t largest_extent = 0;
  for (const uint64_t extent : shape) {
    largest_extent = std::max(largest_extent, extent);
    // Saturates, because a later extent may still be 0.
    count = CheckedMul(count, extent).value_or(UINT64_MAX);
  }
  if (count > elements_max || largest_extent > elements_max) {
    return InvalidShape(
        absl::StrCat("the tensor is larger than ", kTensorBytesMax, " bytes; split it along its first extent"));
  }
  return count;
}

absl::Status UnusedStatistic(const std::string& name, const std::string& message) {
  return InvalidArgument(reason::kUnusedStatistic, message, {{"statistic", name}});
}
absl::Status InvalidStatistic(const std::string& name, const std::string& message) {
  return InvalidArgument(reason::kInvalidStatistic, message, {{"statistic", name}});
}

absl::Status CheckStatisticsAreUsed(const Scheme& scheme, Direction direction, const KnownStatistics& known) {
  const bool quantize = direction == Direction::kQuantize;
  const bool per_tensor = quantize && scheme.grouping == Grouping::kTensor;
  const bool global_scale = quantize && scheme.scale_dtype == ScaleDtype::kE4m3;
  const bool range = per_tensor && !scheme.symmetric;
  if (known.offset.has_value() && !(quantize && scheme.double_quant)) {
    return UnusedStatistic("offset", "the offset is used only by Quantize with double_quant=true; leave it out");
  }
  if (known.amax.has_value() && !global_scale && !(per_tensor && scheme.symmetric)) {
    return UnusedStatistic(
        "amax",
        "amax is used only by Quantize with one symmetric scale or a global scale for the tensor; leave "
        "it out");
  }
  if ((known.min.has_value() || known.max.has_value()) && !range) {
    return UnusedStatistic(
        known.min.has_value() ? "min" : "max",
        "min and max are used only by Quantize with grouping=tensor and symmetric=false; leave them out");
  }
  if (known.global_scale.has_value() && !global_scale) {
    return UnusedStatistic("global_scale", "global_scale is used only by Quantize with scale_dtype=e4m3; leave it out");
  }
  return absl::OkStatus();
}

absl::Status CheckStatisticsValues(const KnownStatistics& known) {
  if (!std::isfinite(known.offset.value_or(0))) {
    return InvalidStatistic("offset", "the offset must be finite; send the mean of all absmax, or leave it out");
  }
  const float amax = known.amax.value_or(0);
  if (!std::isfinite(amax) || amax < 0) {
    return InvalidStatistic("amax",
                            "amax must be finite and not negative; send the largest magnitude, or leave it out");
  }
  if (known.min.has_value() != known.max.has_value()) {
    return InvalidStatistic(known.min.has_value() ? "max" : "min",
                            "min and max belong together; send both, or neither");
  }
  const float min = known.min.value_or(0);
  const float max = known.max.value_or(0);
  if (!std::isfinite(min) || !std::isfinite(max) || min > max) {
    return InvalidStatistic("min", "min and max must be finite, and min at most max");
  }
  const float global_scale = known.global_scale.value_or(1);
  if (!std::isfinite(global_scale) || global_scale <= 0) {
    return InvalidStatistic("global_scale",
                            "global_scale must be finite and above 0; send amax instead, or leave it out");
  }
  if (known.global_scale.has_value() && known.amax.has_value()) {
    return InvalidStatistic("amax", "global_scale and amax say the same; send one of them");
  }
  return absl::OkStatus();
}

absl::Status CheckStatistics(const Scheme& scheme, Direction direction, const KnownStatistics& known) {
  QUANTD_RETURN_IF_ERROR(CheckStatisticsAreUsed(scheme, direction, known));
  return CheckStatisticsValues(known);
}

absl::Status CheckChannelArrays(const Scheme& scheme, Direction direction, std::span<const uint64_t> shape,
                                const ChannelArrays& arrays) {
  if (!arrays.smoothing_factors && !arrays.importance) return absl::OkStatus();
  if (direction != Direction::kQuantize) {
    return UnusedStatistic(std::string(arrays.importance ? kImportanceSegment : kSmoothingFactorsSegment),
                           "smoothing factors and importance are for Quantize; leave them out");
  }
  if (arrays.importance && scheme.range != RangeChoice::kMse) {
    return UnusedStatistic(std::string(kImportanceSegment),
                           "importance weighs the errors of a search; set the override range=mse, or leave it out");
  }
  if (!shape.empty() && shape.back() > kChannelsMax) {
    return InvalidShape(absl::StrCat("the last extent has ", shape.back(), " channels, and smoothing factors and ",
                                     "importance are for at most ", kChannelsMax));
  }
  return absl::OkStatus();
}

// A tensor without elements has no rows, but columns: sizes of units are more than 0 all the same.
void SetRowsAndColumns(Plan& plan) {
  plan.columns = plan.shape.empty() ? 1 : std::max<uint64_t>(plan.shape.back(), 1);
  plan.rows = plan.element_count / plan.columns;
}

absl::Status SetRuns(Plan& plan) {
  // Whole bytes of every code, and short enough that a range can be cut almost anywhere.
  constexpr uint64_t kFlatUnitElements = 64;
  const Scheme& scheme = plan.scheme;
  switch (scheme.grouping) {
    case Grouping::kNone:
    case Grouping::kTensor:
      plan.run_elements = plan.unit_elements = kFlatUnitElements;
      return absl::OkStatus();
    case Grouping::kBlock:
      plan.run_elements = scheme.block_size;
      plan.unit_elements = uint64_t{scheme.block_size} * (scheme.double_quant ? scheme.nested_block_size : 1);
      return absl::OkStatus();
    case Grouping::kGroup:
      if (plan.element_count > 0 && plan.columns % scheme.group_size != 0) {
        return InvalidArgument(
            reason::kInvalidShape,
            absl::StrCat(
                "rows of ", plan.columns, " elements cannot be cut into groups of ", scheme.group_size,
                "; choose a group_size that divides the last extent, another grouping, or leave the tensor as it is"),
            {{"columns", absl::StrCat(plan.columns)}, {"group_size", absl::StrCat(scheme.group_size)}});
      }
      plan.run_elements = scheme.group_size;
      // The zero points of 8 rows share a word.
      plan.unit_rows = plan.recipe.packed_zero_points ? 8 : 0;
      break;
    case Grouping::kChannel:
      plan.run_elements = plan.columns;
      plan.unit_rows = 1;
      break;
    case Grouping::kTile:
      plan.run_elements = scheme.tile_cols;
      plan.unit_rows = scheme.tile_rows;
      break;
  }
  plan.unit_elements = plan.unit_rows == 0 ? plan.run_elements : plan.unit_rows * plan.columns;
  const uint64_t row_bits = plan.columns * static_cast<uint64_t>(InfoOf(plan.recipe.element).bits);
  plan.row_code_bytes = plan.recipe.packed_words ? CeilDiv(row_bits, 32) * 4 : CeilDiv(row_bits, 8);
  return absl::OkStatus();
}

bool Travels(const SegmentLayout& segment) {
  return segment.name != kSpooledScalesSegment && segment.name != kSpooledValuesSegment;
}

// `input` becomes a type. Dequantize takes the type that it is asked for: that is what Quantize's accept would have
// said of the same tensor.
ScaleDtype Concrete(ScaleDtype scale_dtype, DataType values) {
  if (scale_dtype != ScaleDtype::kInput) return scale_dtype;
  return values == DataType::kFloat32   ? ScaleDtype::kFloat32
         : values == DataType::kFloat16 ? ScaleDtype::kFloat16
                                        : ScaleDtype::kBFloat16;
}

std::string MissingStatistic(const Plan& plan) {
  if (plan.scheme.double_quant) return "offset";
  if (plan.recipe.has_global_scale) return "global_scale";
  return plan.scheme.symmetric ? "amax" : "min and max";
}

}  // namespace

uint64_t Plan::unit_count() const { return CeilDiv(element_count, unit_elements); }

uint64_t Plan::ElementsOf(uint64_t begin_unit, uint64_t end_unit) const {
  return std::min(end_unit * unit_elements, element_count) - std::min(begin_unit * unit_elements, element_count);
}

std::pair<uint64_t, uint64_t> Plan::BytesOf(const SegmentLayout& segment, uint64_t begin_unit,
                                            uint64_t end_unit) const {
  return {std::min(begin_unit * segment.unit_bytes, segment.bytes),
          std::min(end_unit * segment.unit_bytes, segment.bytes)};
}

std::vector<SegmentLayout> Plan::WireInputs() const {
  std::vector<SegmentLayout> segments;
  for (const Pass& pass : passes) std::ranges::copy_if(pass.inputs, std::back_inserter(segments), Travels);
  return segments;
}

std::vector<SegmentLayout> Plan::WireOutputs() const {
  std::vector<SegmentLayout> segments;
  for (const Pass& pass : passes) std::ranges::copy_if(pass.outputs, std::back_inserter(segments), Travels);
  return segments;
}

bool Plan::HasScalePerRun() const {
  return scheme.grouping != Grouping::kTensor && scheme.grouping != Grouping::kNone &&
         recipe.method != ScaleMethod::kGgml;
}

bool Plan::NeedsRange() const {
  if (recipe.has_global_scale) return !known.global_scale.has_value() && !known.amax.has_value();
  if (scheme.grouping != Grouping::kTensor) return false;
  return scheme.symmetric ? !known.amax.has_value() : !known.min.has_value();
}

uint64_t Plan::SpoolBytes() const {
  if (!NeedsSpool()) return 0;
  return passes[1].inputs.front().bytes;
}

absl::StatusOr<Plan> MakePlan(const Scheme& scheme, Direction direction, DataType values_dtype,
                              std::span<const uint64_t> shape, const KnownStatistics& known,
                              const ChannelArrays& channel_arrays) {
  QUANTD_RETURN_IF_ERROR(CheckDtype(values_dtype));
  Plan plan;
  QUANTD_ASSIGN_OR_RETURN(plan.element_count, CountElements(values_dtype, shape));
  QUANTD_RETURN_IF_ERROR(CheckStatistics(scheme, direction, known));
  QUANTD_RETURN_IF_ERROR(CheckChannelArrays(scheme, direction, shape, channel_arrays));
  plan.scheme = scheme;
  plan.scheme.scale_dtype = Concrete(scheme.scale_dtype, values_dtype);
  plan.recipe = RecipeOf(plan.scheme, values_dtype);
  plan.direction = direction;
  plan.values_dtype = values_dtype;
  plan.shape.assign(shape.begin(), shape.end());
  plan.known = known;
  plan.channel_arrays = channel_arrays;
  SetRowsAndColumns(plan);
  QUANTD_RETURN_IF_ERROR(SetRuns(plan));
  plan.passes = MakePasses(plan);
  return plan;
}

absl::Status CheckChannelArray(std::string_view segment, std::span<const std::byte> bytes) {
  const bool factors = segment == kSmoothingFactorsSegment;
  for (size_t channel = 0; channel < bytes.size() / sizeof(float); ++channel) {
    float value;
    std::memcpy(&value, bytes.data() + channel * sizeof(float), sizeof(value));
    const bool usable = factors ? std::isfinite(value) && value > 0 : value >= 0 && value <= kImportanceMax;
    if (usable) continue;
    return InvalidArgument(
        reason::kInvalidStatistic,
        absl::StrCat(std::string(segment), " of channel ", channel, " is ", value,
                     factors ? "; factors are finite and above 0" : "; importance is at least 0 and at most 2^64"),
        {{"statistic", std::string(segment)}, {"channel", absl::StrCat(channel)}});
  }
  return absl::OkStatus();
}

absl::StatusOr<UnitRange> UnitsOf(const Plan& plan, uint64_t begin_element, uint64_t end_element) {
  const auto aligned = [&](uint64_t element) {
    return element == plan.element_count || (element < plan.element_count && element % plan.unit_elements == 0);
  };
  if (begin_element > end_element || !aligned(begin_element) || !aligned(end_element)) {
    return InvalidArgument(
        reason::kUnalignedRange,
        absl::StrCat("the range [", begin_element, ", ", end_element, ") must begin and end at multiples of ",
                     plan.unit_elements, " elements or at the tensor's end, ", plan.element_count),
        {{"unit_elements", absl::StrCat(plan.unit_elements)}, {"element_count", absl::StrCat(plan.element_count)}});
  }
  if (plan.NeedsSpool() && (begin_element != 0 || end_element != plan.element_count)) {
    const std::string statistic = MissingStatistic(plan);
    return InvalidArgument(
        reason::kStatisticNeeded,
        absl::StrCat("a part of a tensor needs the whole tensor's ", statistic, "; send it in statistics"),
        {{"statistic", statistic}});
  }
  return UnitRange{CeilDiv(begin_element, plan.unit_elements), CeilDiv(end_element, plan.unit_elements)};
}

}  // namespace quantd
