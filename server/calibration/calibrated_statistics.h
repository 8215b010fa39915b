// From statistics of a calibration to those that a tensor is quantized with.
#pragma once

#include <span>

#include "absl/status/statusor.h"
#include "kernels/calibrate/ranges.h"
#include "kernels/scheme/plan.h"
#include "server/calibration/range_words.h"

namespace quantd::server {

// What `plan`'s scheme needs a range for, which it must. Of `words` method and percentile count; target and symmetry
// are the scheme's. The errors of ParseRangeWords, and INVALID_RANGE_REQUEST for a search where the scheme has more
// than one scale.
absl::StatusOr<RangeRequest> RangeRequestFor(const RangeWords& words, const Plan& plan);

// What `plan` knows, and `range` as its scheme takes it: amax of a symmetric scheme and of NVFP4, min and max of an
// asymmetric one.
KnownStatistics WithRange(const Plan& plan, const Range& range);

// Both, with the range of these tensors together. Also the errors of FindSharedRange.
absl::StatusOr<KnownStatistics> StatisticsFrom(std::span<const TensorStatistics* const> tensors,
                                               const RangeWords& words, const Plan& plan);

}  // namespace quantd::server
