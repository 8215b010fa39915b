// A tensor's distribution in a few bins of equal width, for eyes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/calibrate/tensor_statistics.h"

namespace quantd::cli {

struct DrawnHistogram {
  double lowest = 0;
  double highest = 0;
  std::vector<uint64_t> counts;  // of equal parts of [lowest, highest]; empty without a distribution or a finite value

  double BeginOf(size_t bin) const;
};

// A bin of the statistics counts where its middle is.
DrawnHistogram DrawHistogram(const TensorStatistics& statistics, size_t bins);

// The bars' heights in all pictures: of each bin, from 0 to 1, as the logarithm of its count, so that outliers show.
std::vector<double> BarHeights(const DrawnHistogram& histogram);

// A line for each bin, with bars of at most `width` blocks as long as the logarithm of the count, so that outliers
// show.
std::string FormatBars(const DrawnHistogram& histogram, size_t width);

// A figure of its own: the same bars, upright, with a title and an axis.
std::string FormatSvg(const DrawnHistogram& histogram, const std::string& title);

}  // namespace quantd::cli
