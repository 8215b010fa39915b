// From statistics of channels to the arrays that a tensor is quantized with.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/calibrate/tensor_statistics.h"

namespace quantd::server {

// FAILED_PRECONDITION with reason STATISTICS_MISSING unless the statistics have a bucket for each of `channels` indices
// of a last axis; with `squares` also unless they have sums of squares.
absl::Status CheckChannelStatistics(const TensorStatistics& statistics, uint64_t channels, bool squares);

// SmoothQuant's factors for weights that have the same activations as input. All must have passed the check. The errors
// of SmoothingFactors.
absl::StatusOr<std::vector<float>> FactorsFrom(const TensorStatistics& activations,
                                               std::span<const TensorStatistics* const> weights, double alpha);

// E[x^2] of each channel, rounded to float32. It must have passed the check with `squares`.
std::vector<float> ImportanceFrom(const TensorStatistics& activations);

}  // namespace quantd::server
