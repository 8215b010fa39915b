// What an element can hold of a range, by the strict arithmetic of docs/formats.md: for searches of a better range.
#pragma once

#include <vector>

#include "kernels/format/element.h"

namespace quantd {

struct TargetScale {
  float scale;
  float zero;
};

// Integers and small floats; of integers only there are asymmetric ranges.
bool CanTarget(Element element, bool symmetric);

// For [lowest, highest] with 0 inside; a symmetric one is [-highest, highest].
TargetScale ScaleFor(Element element, bool symmetric, float lowest, float highest);

// All finite values that decode from it, ascending, each once.
std::vector<double> LevelsOf(Element element, bool symmetric, const TargetScale& scale);

// Encoded and decoded.
float FakeQuantized(Element element, bool symmetric, const TargetScale& scale, float value);

}  // namespace quantd
