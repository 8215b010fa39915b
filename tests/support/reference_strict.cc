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

// Where an element is in its row of its group.
uint64_t PlaceOf(const ReferenceTensor& tensor, uint64_t element) {
  const ReferenceOptions& options = tensor.options;
  const uint64_t column = element % tensor.columns;
  if (options.grouping == "block") return element % options.block_size;
  if (options.grouping == "group") return column % options.group_size;
  if (options.grouping == "tile") return column % options.tile_cols;
  return column;
}

// The squared errors of the group's elements in units of the scale: 16 sums, which are then added in halves.
float SumOfErrors(const ReferenceTensor& tensor, const std::vector<uint64_t>& elements, float inverse, int zero_point) {
  const ReferenceOptions& options = tensor.options;
  std::vector<float> sums(16);
  for (const uint64_t element : elements) {
    float exact = Product(tensor.values[element], inverse);
    if (HasZeroPoints(options)) exact = Sum(exact, static_cast<float>(zero_point));
    const int code = RoundToInteger(exact, LowestInteger(options), HighestInteger(options));
    const float error = Difference(exact, static_cast<float>(code));
    float square = Product(error, error);
    if (!tensor.importance.empty()) square = Product(square, tensor.importance[element % tensor.columns]);
    float& sum = sums[PlaceOf(tensor, element) % 16];
    sum = Sum(sum, square);
  }
  for (size_t half = 8; half > 0; half /= 2) {
    for (size_t i = 0; i < half; ++i) sums[i] = Sum(sums[i], sums[i + half]);
  }
  return sums[0];
}

// range=mse: of 80 clippings the first with the least error, in units of the first scale.
ReferenceRange Narrowed(const ReferenceTensor& tensor, const std::vector<uint64_t>& elements,
                        const ReferenceRange& whole) {
  ReferenceRange best = whole;
  float best_error = 0;
  const float widest = ScaleOf(tensor, whole);
  if (widest < 0x1p-100f || widest > 0x1p100f) return whole;
  for (int i = 0; i < 80; ++i) {
    const float clip = Quotient(static_cast<float>(100 - i), 100);
    const ReferenceRange range = {Product(whole.amax, clip), Product(whole.low, clip), Product(whole.high, clip)};
    const float scale = ScaleOf(tensor, range);
    const float ratio = Product(scale, Quotient(1, widest));
    const float sum = SumOfErrors(tensor, elements, Quotient(1, scale), ZeroPointOf(tensor.options, range, scale));
    const float error = Product(sum, Product(ratio, ratio));
    if (i > 0 && !(error < best_error)) continue;
    best = range;
    best_error = error;
  }
  return best;
}

std::vector<ReferenceRange> NarrowedRangesOf(const ReferenceTensor& tensor) {
  std::vector<ReferenceRange> ranges = RangesOf(tensor);
  if (!tensor.options.searches_range) return ranges;
  std::vector<std::vector<uint64_t>> elements(ranges.size());
  for (uint64_t i = 0; i < tensor.size(); ++i) elements[GroupOf(tensor, i)].push_back(i);
  for (size_t group = 0; group < ranges.size(); ++group) {
    ranges[group] = Narrowed(tensor, elements[group], ranges[group]);
  }
  return ranges;
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
  for (const ReferenceRange& range : NarrowedRangesOf(tensor)) {
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
