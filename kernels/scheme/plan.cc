#include "kernels/scheme/plan.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "kernels/base/checked_math.h"
#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "kernels/base/status_macros.h"
#include "kernels/format/format_list.h"

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

absl::Status CheckStatistics(const Scheme& scheme, Direction direction, const KnownStatistics& known) {
  if (!known.offset.has_value()) return absl::OkStatus();
  if (direction != Direction::kQuantize || !scheme.double_quant) {
    return InvalidArgument(reason::kUnusedStatistic,
                           "the offset is used only by Quantize with double_quant=true; leave it out",
                           {{"statistic", "offset"}});
  }
  if (!std::isfinite(*known.offset)) {
    return InvalidArgument(reason::kInvalidStatistic,
                           "the offset must be finite; send the mean of all absmax, or leave it out",
                           {{"statistic", "offset"}});
  }
  return absl::OkStatus();
}

// The segments of a plan, each made in one place.
class SegmentMaker {
 public:
  explicit SegmentMaker(const Plan& plan) : plan_(plan), block_(plan.scheme.block_size) {}

  SegmentLayout Values() const { return Make(kValuesSegment, plan_.values_dtype, plan_.shape, plan_.element_count, 1); }
  SegmentLayout Codes() const {
    return PerUnit(kCodesSegment, DataType::kUint8, 8 / static_cast<uint64_t>(InfoOf(plan_.scheme.element).bits));
  }
  SegmentLayout Scales() const { return PerUnit(kScalesSegment, DataType::kFloat32, block_); }
  SegmentLayout SpooledScales() const { return PerUnit(kSpooledScalesSegment, DataType::kFloat32, block_); }
  SegmentLayout ScaleCodes() const { return PerUnit(kScalesSegment, DataType::kUint8, block_); }
  SegmentLayout NestedScales() const {
    return PerUnit(kNestedScalesSegment, DataType::kFloat32, block_ * plan_.scheme.nested_block_size);
  }
  SegmentLayout Offset() const {
    return {std::string(kOffsetSegment), DataType::kFloat32, {}, SizeBytes(DataType::kFloat32), 0};
  }

 private:
  // A flat segment with one item for every `elements_per_item` elements of the tensor.
  SegmentLayout PerUnit(std::string_view name, DataType dtype, uint64_t elements_per_item) const {
    const uint64_t items = CeilDiv(plan_.element_count, elements_per_item);
    return Make(name, dtype, {items}, items, elements_per_item);
  }
  SegmentLayout Make(std::string_view name, DataType dtype, std::vector<uint64_t> shape, uint64_t items,
                     uint64_t elements_per_item) const {
    const uint64_t unit_items = plan_.unit_elements / elements_per_item;
    return {std::string(name), dtype, std::move(shape), items * SizeBytes(dtype), unit_items * SizeBytes(dtype)};
  }

  const Plan& plan_;
  uint64_t block_;
};

std::vector<Pass> MakePasses(const Plan& plan) {
  const SegmentMaker make(plan);
  if (plan.direction == Direction::kDequantize) {
    if (!plan.scheme.double_quant) return {{{make.Scales(), make.Codes()}, {make.Values()}}};
    return {{{make.Offset(), make.NestedScales(), make.ScaleCodes(), make.Codes()}, {make.Values()}}};
  }
  if (!plan.scheme.double_quant) return {{{make.Values()}, {make.Codes(), make.Scales()}}};
  if (plan.known.offset.has_value()) {
    return {{{make.Values()}, {make.Codes(), make.ScaleCodes(), make.NestedScales(), make.Offset()}}};
  }
  return {{{make.Values()}, {make.Codes(), make.SpooledScales()}},
          {{make.SpooledScales()}, {make.ScaleCodes(), make.NestedScales(), make.Offset()}}};
}

bool Travels(const SegmentLayout& segment) { return segment.name != kSpooledScalesSegment; }

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

uint64_t Plan::SpoolBytes() const {
  if (!NeedsSpool()) return 0;
  return passes[1].inputs.front().bytes;
}

absl::StatusOr<Plan> MakePlan(const Scheme& scheme, Direction direction, DataType values_dtype,
                              std::span<const uint64_t> shape, const KnownStatistics& known) {
  QUANTD_RETURN_IF_ERROR(CheckDtype(values_dtype));
  Plan plan;
  QUANTD_ASSIGN_OR_RETURN(plan.element_count, CountElements(values_dtype, shape));
  QUANTD_RETURN_IF_ERROR(CheckStatistics(scheme, direction, known));
  plan.scheme = scheme;
  plan.direction = direction;
  plan.values_dtype = values_dtype;
  plan.shape.assign(shape.begin(), shape.end());
  plan.unit_elements = uint64_t{scheme.block_size} * (scheme.double_quant ? scheme.nested_block_size : 1);
  plan.known = known;
  plan.passes = MakePasses(plan);
  return plan;
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
    return InvalidArgument(
        reason::kStatisticNeeded,
        "a part of a double-quantized tensor needs the whole tensor's offset; send statistics.offset",
        {{"statistic", "offset"}});
  }
  return UnitRange{CeilDiv(begin_element, plan.unit_elements), CeilDiv(end_element, plan.unit_elements)};
}

}  // namespace quantd
