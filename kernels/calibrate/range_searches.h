// The range methods that look for the best of many ranges. Everyone else includes ranges.h. What a cancelled search
// gives means nothing.
#pragma once

#include "kernels/calibrate/ranges.h"

namespace quantd {

// The range of [-absmax, absmax], or of [min(0, lowest), max(0, highest)], that has the least sum of squared errors.
Range FindMseRange(const TensorStatistics& statistics, const RangeRequest& request);

// TensorRT's calibration: the clipping of |x| whose quantized distribution is nearest to the real one, by the
// Kullback-Leibler divergence; of 2048 bins, from 128 on, the last of equal ones.
Range FindEntropyRange(const TensorStatistics& statistics, const RangeRequest& request);

}  // namespace quantd
