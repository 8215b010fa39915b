// The unary methods about calibration sessions.
#pragma once

#include "absl/status/statusor.h"
#include "quantd/v1/calibration.pb.h"
#include "server/calibration/calibration_store.h"
#include "server/rpc/calibration_convert.h"
#include "server/session/principal.h"

namespace quantd::server {

// Safe from any thread.
class CalibrationMethods {
 public:
  // `store` must outlive it.
  CalibrationMethods(CalibrationStore& store, ServerIdentity identity)
      : store_(store), identity_(std::move(identity)) {}

  absl::StatusOr<v1::GetCalibrationResponse> Get(const Principal& principal,
                                                 const v1::GetCalibrationRequest& request) const;
  absl::StatusOr<v1::SealCalibrationResponse> Seal(const Principal& principal,
                                                   const v1::SealCalibrationRequest& request) const;
  absl::StatusOr<v1::ListCalibrationsResponse> List(const Principal& principal,
                                                    const v1::ListCalibrationsRequest& request) const;
  absl::StatusOr<v1::DeleteCalibrationResponse> Delete(const Principal& principal,
                                                       const v1::DeleteCalibrationRequest& request) const;

 private:
  CalibrationStore& store_;
  const ServerIdentity identity_;
};

}  // namespace quantd::server
