// What goes wrong with calibration sessions, each said in one way.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace quantd::server {

// INVALID_ARGUMENT, reason INVALID_CALIBRATION.
absl::Status InvalidCalibration(const std::string& message);
// NOT_FOUND, reason UNKNOWN_CALIBRATION.
absl::Status UnknownCalibration(const std::string& session_id);
// NOT_FOUND, reason UNKNOWN_TENSOR.
absl::Status UnknownTensor(const std::string& session_id, const std::string& tensor);
// FAILED_PRECONDITION, reason CALIBRATION_MISMATCH.
absl::Status CalibrationMismatch(const std::string& message);
// FAILED_PRECONDITION, reason CALIBRATION_OPEN.
absl::Status CalibrationOpen(const std::string& session_id);
// FAILED_PRECONDITION, reason CALIBRATION_CLOSED.
absl::Status CalibrationClosed(const std::string& message);
// RESOURCE_EXHAUSTED, reason CALIBRATION_BUDGET.
absl::Status CalibrationBudget(const std::string& message);

// INVALID_CALIBRATION unless `id` is 1 to 128 of A-Z a-z 0-9 . _ : / -
absl::Status CheckId(const std::string& field, const std::string& id);

// A name as a part of a message: quoted, and cut where it is long.
std::string InMessage(const std::string& name);

}  // namespace quantd::server
