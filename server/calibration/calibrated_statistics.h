// From a calibration session to the statistics of a tensor that is to be quantized.
#pragma once

#include <span>

#include "absl/status/statusor.h"
#include "kernels/scheme/plan.h"
#include "server/calibration/calibration_store.h"
#include "server/calibration/range_words.h"
#include "server/session/frame.h"
#include "server/session/principal.h"

namespace quantd::server {

// What `plan` knows, and the range that its scheme needs, of these tensors together: amax of a symmetric scheme and of
// NVFP4, min and max of an asymmetric one. The plan must need a range. Of `words` method and percentile count; target
// and symmetry are the scheme's. The errors of ParseRangeWords and FindSharedRange, and INVALID_RANGE_REQUEST for a
// search where the scheme has more than one scale.
absl::StatusOr<KnownStatistics> StatisticsFrom(std::span<const TensorStatistics* const> tensors,
                                               const RangeWords& words, const Plan& plan);

// The same of the tensors that the request's `calibration` names. UNUSED_STATISTIC if the scheme needs no range of the
// whole tensor, or has it; the errors of ResolveScheme, MakePlan, CalibrationStore::Find, CalibrationSession::Read and
// StatisticsFrom; INVALID_CALIBRATION for too many tensors.
absl::StatusOr<KnownStatistics> CalibratedStatistics(const TensorRequest& request, const Principal& principal,
                                                     CalibrationStore& store);

}  // namespace quantd::server
