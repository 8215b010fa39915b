// arithmetic=strict: one IEEE rounding for each operation, nothing flushed.
#include <algorithm>
#include <cmath>

#include "tests/support/reference_arithmetic.h"
#include "tests/support/reference_elements.h"
#include "tests/support/reference_groups.h"
#include "tests/support/reference_nested_scales.h"
#include "tests/support/reference_packing.h"
#include "tests/support/reference_tensor.h"
#include "tests/support/reference_values.h"

namespace quantd::testing {
namespace {

bool IsScaled(const ReferenceOptions& options) { return options.scale_dtype != "none"; }

bool HasZeroPoints(const ReferenceOptions& options) { return IsInteger(options.element) && !options.symmetric; }

int LowestInteger(const ReferenceOptions& options) {
  const int highest = static_cast<int>(LargestOf(options.element));
  return options.symmetric ? -highest : -highest - 1;
}

int HighestInteger(const ReferenceOptions& options) { return static_cast<int>(LargestOf(options.element)); }

float ScaleOf(const ReferenceTensor& tensor, const ReferenceRange& range) {
  const ReferenceOptions& options = tensor.options;
  float scale = Quotient(range.amax, LargestOf(options.element));
  if (HasZeroPoints(options)) {
    const float half_range = Difference(Quotient(range.high, 2), Quotient(range.low, 2));
    const float half_steps = static_cast<float>(HighestInteger(options) - LowestInteger(options)) / 2;
    scale = Quotient(half_range, half_steps);
  }
  const DataType type = tensor.ScaleType();
  scale = std::min(RoundedTo(type, scale), LargestFinite(type));
  return scale == 0 && !IsNormalized(options.element) ? 1 : scale;
}

int ZeroPointOf(const ReferenceOptions& options, const ReferenceRange& range, float scale) {
  if (!HasZeroPoints(options) || (range.low == 0 && range.high == 0)) return 0;
  const int lowest = LowestInteger(options);
  const float exact = Difference(static_cast<float>(lowest), Quotient(range.low, scale));
  return RoundToInteger(exact, lowest, HighestInteger(options));
}

uint32_t CodeOf(const ReferenceOptions& options, float y, int zero_point) {
  if (!IsInteger(options.element)) return EncodeElement(options.element, y, options.saturate);
  const float shifted = HasZeroPoints(options) ? Sum(y, static_cast<float>(zero_point)) : y;
  return EncodeInteger(options.element, RoundToInteger(shifted, LowestInteger(options), HighestInteger(options)));
}

float LevelOf(const ReferenceOptions& options, uint32_t code, int zero_point) {
  if (!IsInteger(options.element)) return DecodeElement(options.element, code);
  return static_cast<float>(DecodeInteger(options.element, code) - zero_point);
}

std::vector<float> ReadScales(const ReferenceTensor& tensor, const Segments& segments) {
  if (tensor.options.double_quant) return DequantizeScales(tensor.options, segments);
  return ReadFloats(tensor.ScaleType(), segments.at("scales"));
}

}  // namespace

Segments QuantizeStrict(const ReferenceTensor& tensor) {
  const ReferenceOptions& options = tensor.options;
  std::vector<float> scales;
  std::vector<int> zero_points;
  for (const ReferenceRange& range : RangesOf(tensor)) {
    scales.push_back(ScaleOf(tensor, range));
    zero_points.push_back(ZeroPointOf(options, range, scales.back()));
  }
  std::vector<uint32_t> codes;
  for (uint64_t i = 0; i < tensor.size(); ++i) {
    const uint64_t group = GroupOf(tensor, i);
    const bool divides = IsScaled(options) && scales[group] != 0;
    const float y = divides ? Quotient(tensor.values[i], scales[group]) : tensor.values[i];
    codes.push_back(CodeOf(options, y, zero_points[group]));
  }

  Segments segments;
  if (IsScaled(options)) segments["scales"] = WriteFloats(tensor.ScaleType(), scales);
  if (options.double_quant) segments = QuantizeScales(tensor, scales);
  if (HasZeroPoints(options)) {
    Bytes& stored = segments["zero_points"];
    for (const int zero_point : zero_points) stored.push_back(static_cast<std::byte>(zero_point));
  }
  segments["codes"] = PackCodes(tensor, codes);
  return segments;
}

std::vector<float> DequantizeStrict(const ReferenceTensor& tensor, const Segments& segments) {
  const ReferenceOptions& options = tensor.options;
  const std::vector<uint32_t> codes = UnpackCodes(tensor, segments.at("codes"));
  const std::vector<float> scales = IsScaled(options) ? ReadScales(tensor, segments) : std::vector<float>{};
  std::vector<float> values;
  for (uint64_t i = 0; i < tensor.size(); ++i) {
    const uint64_t group = GroupOf(tensor, i);
    const int zero_point = HasZeroPoints(options) ? std::to_integer<int8_t>(segments.at("zero_points")[group]) : 0;
    const float level = LevelOf(options, codes[i], zero_point);
    values.push_back(IsScaled(options) ? CanonicalNan(Product(level, scales[group])) : level);
  }
  return values;
}

}  // namespace quantd::testing
