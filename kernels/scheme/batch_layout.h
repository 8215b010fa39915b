// How a run of units lies in memory of a given size.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/scheme/plan.h"

namespace quantd {

// Every area begins at a multiple of this: full vectors, and DMA likes it.
inline constexpr uint64_t kAreaAlignmentBytes = 64;

// A part of the memory, for one segment.
struct Area {
  uint64_t offset = 0;
  uint64_t bytes = 0;
};

// Areas of one pass over `units` units: per-unit segments only, in the order of Pass::inputs and Pass::outputs; a
// segment of the whole tensor has an empty area.
struct BatchLayout {
  uint64_t units = 0;
  std::vector<Area> inputs;
  std::vector<Area> outputs;
  uint64_t bytes = 0;  // all areas with their padding
};

// The layout of `units` full units.
BatchLayout LayOut(const Pass& pass, uint64_t units);

// The most full units, at most units_max, whose layout fits in `capacity_bytes`; 0 if not even one does.
uint64_t UnitsThatFit(const Pass& pass, uint64_t units_max, uint64_t capacity_bytes);

}  // namespace quantd
