// Between calibration sessions and the messages about them.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "kernels/calibrate/ranges.h"
#include "quantd/v1/calibration.pb.h"
#include "server/calibration/calibration_import.h"
#include "server/calibration/calibration_session.h"

namespace quantd::server {

// The process that keeps the sessions.
struct ServerIdentity {
  std::string server_instance;
  uint64_t epoch = 0;
};

v1::Calibration ToProto(const CalibrationInfo& info, const ServerIdentity& identity);

ImportTarget FromProto(const v1::ImportTarget& target);

// Errors: those of ParseRangeWords.
absl::StatusOr<RangeRequest> FromProto(const v1::RangeMethod& range);

// What a GetCalibration wants of each tensor.
struct WantedResults {
  std::optional<RangeRequest> range;
  bool importance = false;
};
// Errors: those of FindRanges and Importance.
absl::StatusOr<v1::CalibratedTensor> ToProto(const std::string& name, const ClosedTensor& tensor,
                                             const WantedResults& wanted);

void Fill(const Range& range, v1::CalibratedRange& proto);

}  // namespace quantd::server
