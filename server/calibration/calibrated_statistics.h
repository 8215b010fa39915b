// From a calibration session to the statistics of a tensor that is to be quantized.
#pragma once

#include "absl/status/statusor.h"
#include "kernels/scheme/plan.h"
#include "server/calibration/calibration_store.h"
#include "server/session/frame.h"
#include "server/session/principal.h"

namespace quantd::server {

// What the request knows, and the range that its scheme needs from the tensors that its `calibration` names: amax of a
// symmetric scheme and of NVFP4, min and max of an asymmetric one. UNUSED_STATISTIC if the scheme needs no range of the
// whole tensor, or has it; the errors of ResolveScheme, MakePlan, CalibrationStore::Find, CalibrationSession::Read and
// FindSharedRange; INVALID_RANGE_REQUEST; INVALID_CALIBRATION for too many tensors.
absl::StatusOr<KnownStatistics> CalibratedStatistics(const TensorRequest& request, const Principal& principal,
                                                     CalibrationStore& store);

}  // namespace quantd::server
