#include "kernels/scheme/batch_layout.h"

#include <algorithm>

#include "kernels/base/checked_math.h"

namespace quantd {
namespace {

std::vector<Area> Place(const std::vector<SegmentLayout>& segments, uint64_t units, uint64_t& bytes) {
  std::vector<Area> areas;
  for (const SegmentLayout& segment : segments) {
    areas.push_back({bytes, units * segment.unit_bytes});
    bytes += AlignUp(areas.back().bytes, kAreaAlignmentBytes);
  }
  return areas;
}

uint64_t LayoutBytes(const Pass& pass, uint64_t units) {
  uint64_t bytes = 0;
  for (const SegmentLayout& segment : pass.inputs) bytes += AlignUp(units * segment.unit_bytes, kAreaAlignmentBytes);
  for (const SegmentLayout& segment : pass.outputs) bytes += AlignUp(units * segment.unit_bytes, kAreaAlignmentBytes);
  return bytes;
}

uint64_t UnitBytes(const Pass& pass) {
  uint64_t bytes = 0;
  for (const SegmentLayout& segment : pass.inputs) bytes += segment.unit_bytes;
  for (const SegmentLayout& segment : pass.outputs) bytes += segment.unit_bytes;
  return bytes;
}

}  // namespace

BatchLayout LayOut(const Pass& pass, uint64_t units) {
  BatchLayout layout;
  layout.units = units;
  layout.inputs = Place(pass.inputs, units, layout.bytes);
  layout.outputs = Place(pass.outputs, units, layout.bytes);
  return layout;
}

uint64_t UnitsThatFit(const Pass& pass, uint64_t units_max, uint64_t capacity_bytes) {
  // Padding only makes a layout larger, so this bound holds and keeps the products below small.
  uint64_t low = 0;
  uint64_t high = std::min(units_max, capacity_bytes / UnitBytes(pass));
  if (LayoutBytes(pass, high) <= capacity_bytes) return high;
  while (low < high) {
    const uint64_t middle = high - (high - low) / 2;
    if (LayoutBytes(pass, middle) <= capacity_bytes) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

}  // namespace quantd
