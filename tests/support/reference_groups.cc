#include "tests/support/reference_groups.h"

#include <algorithm>
#include <cmath>

namespace quantd::testing {
namespace {

uint64_t CeilDiv(uint64_t a, uint64_t b) { return (a + b - 1) / b; }

}  // namespace

uint64_t GroupCount(const ReferenceTensor& tensor) {
  const ReferenceOptions& options = tensor.options;
  if (options.grouping == "channel") return tensor.rows;
  if (options.grouping == "group") return tensor.rows * (tensor.columns / options.group_size);
  if (options.grouping == "block") return CeilDiv(tensor.size(), options.block_size);
  if (options.grouping == "tile") {
    return CeilDiv(tensor.rows, options.tile_rows) * CeilDiv(tensor.columns, options.tile_cols);
  }
  return 1;
}

uint64_t GroupOf(const ReferenceTensor& tensor, uint64_t element) {
  const ReferenceOptions& options = tensor.options;
  const uint64_t row = element / tensor.columns;
  const uint64_t column = element % tensor.columns;
  if (options.grouping == "channel") return row;
  if (options.grouping == "group") return row * (tensor.columns / options.group_size) + column / options.group_size;
  if (options.grouping == "block") return element / options.block_size;
  if (options.grouping == "tile") {
    return row / options.tile_rows * CeilDiv(tensor.columns, options.tile_cols) + column / options.tile_cols;
  }
  return 0;
}

std::vector<ReferenceRange> RangesOf(const ReferenceTensor& tensor) {
  std::vector<ReferenceRange> ranges(GroupCount(tensor));
  for (uint64_t i = 0; i < tensor.values.size(); ++i) {
    const float value = tensor.values[i];
    if (!std::isfinite(value)) continue;
    ReferenceRange& range = ranges[GroupOf(tensor, i)];
    range.low = std::min(range.low, value);
    range.high = std::max(range.high, value);
    range.amax = std::max(range.high, -range.low);
  }
  if (tensor.options.grouping == "tensor") {
    const ReferenceStatistics& known = tensor.known;
    ReferenceRange& range = ranges.front();
    if (known.amax.has_value()) range.amax = *known.amax;
    if (known.min.has_value()) range.low = std::min(0.0f, *known.min);
    if (known.max.has_value()) range.high = std::max(0.0f, *known.max);
  }
  return ranges;
}

float TensorAmax(const ReferenceTensor& tensor) {
  if (tensor.known.amax.has_value()) return *tensor.known.amax;
  float amax = 0;
  for (const float value : tensor.values) {
    if (std::isfinite(value)) amax = std::max(amax, std::fabs(value));
  }
  return amax;
}

}  // namespace quantd::testing
