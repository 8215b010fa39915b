// What all units of a tensor share: from statistics to parameters, to bytes, and back.
#include <cstring>

#include "kernels/format/compressed_tensors_scales.h"
#include "kernels/format/strict_scales.h"
#include "kernels/scheme/plan.h"

namespace quantd {
namespace {

// Calls function(Float32Scale{}) or that of another float type.
template <class Function>
auto WithScaleType(DataType type, Function function) {
  if (type == DataType::kFloat16) return function(Float16Scale{});
  if (type == DataType::kBFloat16) return function(BFloat16Scale{});
  return function(Float32Scale{});
}

RunScale TensorScale(const Recipe& recipe, const RunRange& range) {
  return WithScaleType(recipe.scale_rounding, [&]<class Type>(Type) -> RunScale {
    switch (recipe.method) {
      case ScaleMethod::kStrictAbsmax:
        return StrictAbsmax<Type>::Make(range, recipe.scale);
      case ScaleMethod::kStrictAsymmetric:
        return StrictAsymmetric<Type>::Make(range, recipe.scale);
      case ScaleMethod::kCompressedTensorsSymmetric:
        return CompressedTensorsSymmetric<Type>::Make(range, recipe.scale);
      default:
        return StrictSymmetric<Type>::Make(range, recipe.scale);
    }
  });
}

float GlobalScale(DataType values, float amax) {
  const float smallest_normal = values == DataType::kFloat16 ? 0x1p-14f : 0x1p-126f;
  return WithScaleType(values, [&]<class Type>(Type) { return Nvfp4GlobalScale<Type>(amax, smallest_normal); });
}

template <class T>
std::vector<std::byte> BytesOf(T value, uint64_t count = sizeof(T)) {
  std::vector<std::byte> bytes(sizeof(value));
  std::memcpy(bytes.data(), &value, sizeof(value));
  bytes.resize(count);  // the low end: little-endian
  return bytes;
}

template <class T>
T Load(const std::byte* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

}  // namespace

TensorParameters ParametersOf(const Plan& plan, const ValueRange& found, float offset) {
  const KnownStatistics& known = plan.known;
  TensorParameters parameters;
  const float amax = known.amax.value_or(found.amax);
  if (plan.scheme.double_quant) parameters.offset = known.offset.value_or(offset);
  if (plan.recipe.has_global_scale) {
    parameters.global_scale =
        known.global_scale.has_value() ? *known.global_scale : GlobalScale(plan.values_dtype, amax);
  }
  if (plan.scheme.grouping == Grouping::kTensor) {
    const float lowest = known.min.value_or(found.lowest);
    const float highest = known.max.value_or(found.highest);
    parameters.scale = TensorScale(plan.recipe, {amax, lowest < 0 ? lowest : 0.0f, highest > 0 ? highest : 0.0f});
  }
  return parameters;
}

std::vector<std::byte> WholeTensorBytes(const Plan& plan, const SegmentLayout& segment,
                                        const TensorParameters& parameters) {
  if (segment.name == kOffsetSegment) return BytesOf(parameters.offset);
  if (segment.name == kGlobalScaleSegment) return BytesOf(parameters.global_scale);
  if (segment.name == kScalesSegment) return BytesOf(parameters.scale.stored, segment.bytes);
  if (segment.name == kZeroPointsSegment) return BytesOf(static_cast<int8_t>(parameters.scale.zero));
  // weight_shape. The plan's own rows and columns are others where there are no elements.
  uint64_t row_count = 1;
  for (size_t i = 0; i + 1 < plan.shape.size(); ++i) row_count *= plan.shape[i];
  std::vector<std::byte> shape = BytesOf(row_count);
  const std::vector<std::byte> columns = BytesOf(plan.shape.empty() ? uint64_t{1} : plan.shape.back());
  shape.insert(shape.end(), columns.begin(), columns.end());
  return shape;
}

TensorParameters ParametersFrom(const Plan& plan, std::span<const std::byte* const> inputs) {
  TensorParameters parameters;
  const std::vector<SegmentLayout>& segments = plan.passes[0].inputs;
  for (size_t i = 0; i < segments.size(); ++i) {
    const SegmentLayout& segment = segments[i];
    if (!segment.whole_tensor()) continue;
    if (segment.name == kOffsetSegment) parameters.offset = Load<float>(inputs[i]);
    if (segment.name == kGlobalScaleSegment) parameters.global_scale = Load<float>(inputs[i]);
    if (segment.name == kZeroPointsSegment) parameters.scale.zero = static_cast<float>(Load<int8_t>(inputs[i]));
    if (segment.name == kScalesSegment) {
      const uint32_t bits = segment.bytes == 2 ? Load<uint16_t>(inputs[i]) : Load<uint32_t>(inputs[i]);
      parameters.scale.stored = bits;
      parameters.scale.factor =
          WithScaleType(plan.recipe.scale_rounding, [&]<class Type>(Type) { return Type::FromBits(bits); });
    }
  }
  return parameters;
}

}  // namespace quantd
