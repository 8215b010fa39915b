// What a header of Quantize names in calibration sessions, found when its turn to compute has come.
#pragma once

#include <optional>

#include "absl/status/statusor.h"
#include "server/calibration/calibration_store.h"
#include "server/session/frame.h"
#include "server/session/preparation.h"
#include "server/session/principal.h"

namespace quantd::server {

struct CalibratedRequest {
  TensorRequest request;                   // its statistics hold the place of those to come
  std::optional<Preparation> preparation;  // nothing: the request names no session
};

// Everything that can be judged at once is: UNUSED_STATISTIC if the scheme needs no range of the whole tensor, or has
// it; INVALID_CALIBRATION for too many tensors; STATISTICS_MISSING; the errors of ResolveScheme, MakePlan,
// CalibrationStore::Find, CalibrationSession::Read and RangeRequestFor.
absl::StatusOr<CalibratedRequest> PrepareCalibrated(const TensorRequest& request, const Principal& principal,
                                                    CalibrationStore& store);

}  // namespace quantd::server
