#include "kernels/calibrate/value_bins.h"

#include <algorithm>

namespace quantd {
namespace {

// Cut to the elements' own range.
std::vector<ValueBin> Between(std::vector<ValueBin> bins, double lowest, double highest) {
  if (bins.empty()) return bins;
  bins.front().low = std::max(bins.front().low, lowest);
  bins.back().high = std::min(bins.back().high, highest);
  return bins;
}

}  // namespace

std::vector<ValueBin> ValueBins(const TensorStatistics& statistics) {
  const Histogram histogram = statistics.Distribution();
  std::vector<ValueBin> bins;
  bins.reserve(histogram.size());
  for (const uint32_t i : AscendingOrder(histogram)) {
    const PatternBounds bounds = BoundsOf(statistics.dtype(), histogram.patterns[i]);
    bins.push_back(
        {std::min(bounds.nearest, bounds.farthest), std::max(bounds.nearest, bounds.farthest), histogram.counts[i]});
  }
  const BucketRange total = statistics.Total();
  return Between(std::move(bins), total.lowest, total.highest);
}

std::vector<ValueBin> MagnitudeBins(const TensorStatistics& statistics) {
  const Histogram histogram = statistics.Distribution();
  Histogram positive;
  Histogram negative;
  for (size_t i = 0; i < histogram.size(); ++i) {
    const uint16_t pattern = histogram.patterns[i];
    (pattern < 0x8000 ? positive : negative).Append(pattern & 0x7fff, histogram.counts[i]);
  }
  positive.Merge(negative);
  std::vector<ValueBin> bins;
  bins.reserve(positive.size());
  for (size_t i = 0; i < positive.size(); ++i) {
    const PatternBounds bounds = BoundsOf(statistics.dtype(), positive.patterns[i]);
    bins.push_back({bounds.nearest, bounds.farthest, positive.counts[i]});
  }
  return Between(std::move(bins), 0, statistics.Total().Absmax());
}

std::vector<WeightedPoint> PointsOf(const std::vector<ValueBin>& bins, uint32_t per_bin) {
  std::vector<WeightedPoint> points;
  for (const ValueBin& bin : bins) {
    if (bin.low == bin.high) {
      points.push_back({bin.low, static_cast<double>(bin.count)});
      continue;
    }
    for (uint32_t i = 0; i < per_bin; ++i) {
      points.push_back(
          {bin.low + (bin.high - bin.low) * (i + 0.5) / per_bin, static_cast<double>(bin.count) / per_bin});
    }
  }
  return points;
}

}  // namespace quantd
