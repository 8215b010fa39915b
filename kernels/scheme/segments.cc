#include "kernels/scheme/segments.h"

#include "kernels/base/checked_math.h"
#include "kernels/format/format_list.h"
#include "kernels/scheme/ggml_layout.h"

namespace quantd {
namespace {

class SegmentMaker {
 public:
  explicit SegmentMaker(const Plan& plan)
      : plan_(plan), bits_(static_cast<uint64_t>(InfoOf(plan.recipe.element).bits)) {}

  SegmentLayout Values(std::string_view name) const {
    const uint64_t bytes = SizeBytes(plan_.values_dtype);
    return {std::string(name), plan_.values_dtype, plan_.shape, plan_.element_count * bytes,
            plan_.unit_elements * bytes};
  }

  SegmentLayout Codes() const {
    const DataType dtype = CodeType();
    SegmentLayout codes{std::string(kCodesSegment), dtype, {}, 0, 0};
    if (plan_.unit_rows > 0) {
      codes.bytes = plan_.rows * plan_.row_code_bytes;
      codes.unit_bytes = plan_.unit_rows * plan_.row_code_bytes;
    } else {
      codes.bytes = CeilDiv(plan_.element_count * bits_, 8);
      codes.unit_bytes = plan_.unit_elements * bits_ / 8;
    }
    const bool whole_codes = bits_ % 8 == 0 && dtype != DataType::kInt32;
    const bool in_rows = plan_.unit_rows > 0 || plan_.scheme.grouping == Grouping::kGroup;
    codes.shape = whole_codes ? plan_.shape
                  : in_rows ? std::vector{plan_.rows, plan_.rows == 0 ? 0 : codes.bytes / plan_.rows / SizeBytes(dtype)}
                            : std::vector{codes.bytes};
    return codes;
  }

  // A scale for each run.
  SegmentLayout Scales() const { return PerRun(kScalesSegment, plan_.recipe.scale_dtype); }
  SegmentLayout SpooledScales() const { return PerRun(kSpooledScalesSegment, DataType::kFloat32); }
  SegmentLayout ScaleCodes() const { return PerRun(kScalesSegment, DataType::kUint8); }
  SegmentLayout NestedScales() const {
    const uint64_t nested_elements = plan_.run_elements * plan_.scheme.nested_block_size;
    const uint64_t count = CeilDiv(plan_.element_count, nested_elements);
    constexpr uint64_t kBytes = sizeof(float);
    return {std::string(kNestedScalesSegment),
            DataType::kFloat32,
            {count},
            count * kBytes,
            plan_.unit_elements / nested_elements * kBytes};
  }
  SegmentLayout ZeroPoints() const {
    if (!plan_.recipe.packed_zero_points) return PerRun(kZeroPointsSegment, DataType::kInt8);
    const uint64_t words_down = CeilDiv(plan_.rows * bits_, 32);
    const uint64_t groups = plan_.columns / plan_.run_elements;
    constexpr uint64_t kBytes = sizeof(int32_t);
    return {std::string(kZeroPointsSegment),
            DataType::kInt32,
            {words_down, groups},
            words_down * groups * kBytes,
            plan_.unit_rows * bits_ / 32 * groups * kBytes};
  }
  SegmentLayout Blocks() const {
    const uint64_t block_bytes = GgmlBlockBytes(plan_.scheme);
    const uint64_t row_bytes = plan_.columns / kGgmlBlockElements * block_bytes;
    return {
        std::string(kBlocksSegment), DataType::kUint8, {plan_.rows, row_bytes}, plan_.rows * row_bytes, block_bytes};
  }

  SegmentLayout OfChannels(std::string_view name) const {
    return WholeTensor(name, DataType::kFloat32, {plan_.channel_count()});
  }

  SegmentLayout WholeTensor(std::string_view name, DataType dtype, std::vector<uint64_t> shape) const {
    uint64_t count = 1;
    for (const uint64_t extent : shape) count *= extent;
    return {std::string(name), dtype, std::move(shape), count * SizeBytes(dtype), 0};
  }

 private:
  DataType CodeType() const {
    if (plan_.recipe.packed_words) return DataType::kInt32;
    switch (plan_.recipe.element) {
      case Element::kInt8:
        return DataType::kInt8;
      case Element::kFp8E4m3:
        return DataType::kFloat8E4m3;
      case Element::kFp8E5m2:
        return DataType::kFloat8E5m2;
      case Element::kBFloat16:
        return DataType::kBFloat16;
      case Element::kFloat16:
        return DataType::kFloat16;
      default:
        return DataType::kUint8;
    }
  }

  SegmentLayout PerRun(std::string_view name, DataType dtype) const {
    const uint64_t bytes = SizeBytes(dtype);
    const auto make = [&](std::vector<uint64_t> shape, uint64_t count, uint64_t unit_count) {
      return SegmentLayout{std::string(name), dtype, std::move(shape), count * bytes, unit_count * bytes};
    };
    const uint64_t runs_in_row = CeilDiv(plan_.columns, plan_.run_elements);
    switch (plan_.scheme.grouping) {
      case Grouping::kChannel:
        // LLM.int8's are a vector.
        return make(plan_.recipe.method == ScaleMethod::kBitsandbytesRow ? std::vector{plan_.rows}
                                                                         : std::vector{plan_.rows, uint64_t{1}},
                    plan_.rows, 1);
      case Grouping::kTile: {
        const uint64_t bands = CeilDiv(plan_.rows, plan_.unit_rows);
        return make({bands, runs_in_row}, bands * runs_in_row, runs_in_row);
      }
      case Grouping::kGroup:
        return make({plan_.rows, runs_in_row}, plan_.rows * runs_in_row, plan_.unit_elements / plan_.run_elements);
      default: {
        const uint64_t count = CeilDiv(plan_.element_count, plan_.run_elements);
        return make({count}, count, plan_.unit_elements / plan_.run_elements);
      }
    }
  }

  const Plan& plan_;
  uint64_t bits_;
};

// Segments of one value or few, which belong to the whole tensor.
std::vector<SegmentLayout> WholeTensorSegments(const Plan& plan, const SegmentMaker& make) {
  std::vector<SegmentLayout> segments;
  const Recipe& recipe = plan.recipe;
  if (plan.scheme.double_quant) segments.push_back(make.WholeTensor(kOffsetSegment, DataType::kFloat32, {}));
  if (recipe.has_global_scale) segments.push_back(make.WholeTensor(kGlobalScaleSegment, DataType::kFloat32, {1}));
  if (plan.scheme.grouping == Grouping::kTensor) {
    segments.push_back(make.WholeTensor(kScalesSegment, recipe.scale_dtype, {1}));
    if (recipe.has_zero_points) segments.push_back(make.WholeTensor(kZeroPointsSegment, DataType::kInt8, {1}));
  }
  return segments;
}

Pass DequantizePass(const Plan& plan, const SegmentMaker& make) {
  Pass pass{WholeTensorSegments(plan, make), {make.Values(kValuesSegment)}};
  if (plan.recipe.method == ScaleMethod::kGgml) {
    pass.inputs.push_back(make.Blocks());
    return pass;
  }
  if (plan.scheme.double_quant) {
    pass.inputs.push_back(make.NestedScales());
    pass.inputs.push_back(make.ScaleCodes());
  } else if (plan.HasScalePerRun()) {
    pass.inputs.push_back(make.Scales());
    if (plan.recipe.has_zero_points) pass.inputs.push_back(make.ZeroPoints());
  }
  pass.inputs.push_back(make.Codes());
  return pass;
}

// The values, after what is read beside them.
std::vector<SegmentLayout> QuantizeInputs(const Plan& plan, const SegmentMaker& make) {
  std::vector<SegmentLayout> inputs;
  if (plan.channel_arrays.smoothing_factors) inputs.push_back(make.OfChannels(kSmoothingFactorsSegment));
  if (plan.channel_arrays.importance) inputs.push_back(make.OfChannels(kImportanceSegment));
  inputs.push_back(make.Values(kValuesSegment));
  return inputs;
}

// What Quantize writes once all statistics are known.
std::vector<SegmentLayout> QuantizeOutputs(const Plan& plan, const SegmentMaker& make) {
  std::vector<SegmentLayout> outputs;
  if (plan.recipe.method == ScaleMethod::kGgml) {
    outputs.push_back(make.Blocks());
  } else {
    outputs.push_back(make.Codes());
  }
  if (plan.scheme.double_quant) {
    outputs.push_back(make.ScaleCodes());
    outputs.push_back(make.NestedScales());
  } else if (plan.HasScalePerRun()) {
    outputs.push_back(make.Scales());
    if (plan.recipe.has_zero_points) outputs.push_back(make.ZeroPoints());
  }
  for (SegmentLayout& segment : WholeTensorSegments(plan, make)) outputs.push_back(std::move(segment));
  if (plan.recipe.packed_words) outputs.push_back(make.WholeTensor(kWeightShapeSegment, DataType::kInt64, {2}));
  return outputs;
}

}  // namespace

std::vector<Pass> MakePasses(const Plan& plan) {
  const SegmentMaker make(plan);
  if (plan.direction == Direction::kDequantize) return {DequantizePass(plan, make)};
  std::vector<SegmentLayout> outputs = QuantizeOutputs(plan, make);
  if (plan.scheme.double_quant && !plan.known.offset.has_value()) {
    // The codes leave with the first pass already.
    outputs.erase(outputs.begin());
    return {{QuantizeInputs(plan, make), {make.Codes(), make.SpooledScales()}},
            {{make.SpooledScales()}, std::move(outputs)}};
  }
  if (plan.NeedsRange()) {
    return {{QuantizeInputs(plan, make), {make.Values(kSpooledValuesSegment)}},
            {{make.Values(kSpooledValuesSegment)}, std::move(outputs)}};
  }
  return {{QuantizeInputs(plan, make), std::move(outputs)}};
}

}  // namespace quantd
