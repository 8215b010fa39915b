// A histogram as intervals of values in ascending order.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/calibrate/tensor_statistics.h"

namespace quantd {

// `count` elements between low and high, of a 16-bit type exactly there: low = high.
struct ValueBin {
  double low;
  double high;
  uint64_t count;
};

// Of the finite elements; none reaches beyond the lowest and the highest element.
std::vector<ValueBin> ValueBins(const TensorStatistics& statistics);

// The same of their magnitudes.
std::vector<ValueBin> MagnitudeBins(const TensorStatistics& statistics);

// A bin as `per_bin` equal points of its inside, or as one if it has no inside.
struct WeightedPoint {
  double value;
  double weight;
};
std::vector<WeightedPoint> PointsOf(const std::vector<ValueBin>& bins, uint32_t per_bin);

}  // namespace quantd
