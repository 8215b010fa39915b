#include "server/calibration/calibration_errors.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "server/calibration/calibration_limits.h"

namespace quantd::server {

std::string InMessage(const std::string& name) {
  constexpr size_t kShownBytesMax = 64;
  return absl::StrCat("\"", name.substr(0, kShownBytesMax), name.size() > kShownBytesMax ? "…\"" : "\"");
}

absl::Status InvalidCalibration(const std::string& message) {
  return InvalidArgument(reason::kInvalidCalibration, message);
}

absl::Status UnknownCalibration(const std::string& session_id) {
  return MakeError(absl::StatusCode::kNotFound, reason::kUnknownCalibration,
                   "there is no calibration session " + InMessage(session_id) +
                       " of yours on this server. It was never made, was deleted, has expired, or the server has been "
                       "restarted since (compare server_instance); calibrate again, or import its .qcal file.",
                   {{"session_id", session_id}});
}

absl::Status UnknownTensor(const std::string& session_id, const std::string& tensor) {
  return MakeError(absl::StatusCode::kNotFound, reason::kUnknownTensor,
                   "calibration session " + InMessage(session_id) + " has no tensor " + InMessage(tensor) +
                       ". GetCalibration lists those that it has.",
                   {{"session_id", session_id}, {"tensor", tensor}});
}

absl::Status CalibrationMismatch(const std::string& message) {
  return MakeError(absl::StatusCode::kFailedPrecondition, reason::kCalibrationMismatch, message);
}

absl::Status CalibrationOpen(const std::string& session_id) {
  return MakeError(absl::StatusCode::kFailedPrecondition, reason::kCalibrationOpen,
                   "calibration session " + InMessage(session_id) +
                       " still takes contributions. Send those that are expected, or seal it, and read then.",
                   {{"session_id", session_id}});
}

absl::Status CalibrationClosed(const std::string& message) {
  return MakeError(absl::StatusCode::kFailedPrecondition, reason::kCalibrationClosed, message);
}

absl::Status CalibrationBudget(const std::string& message) {
  return MakeError(absl::StatusCode::kResourceExhausted, reason::kCalibrationBudget, message);
}

absl::Status CheckId(const std::string& field, const std::string& id) {
  const bool readable = std::all_of(id.begin(), id.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || std::string_view("._:/-").find(c) != std::string::npos;
  });
  if (!id.empty() && id.size() <= kCalibrationIdBytesMax && readable) return absl::OkStatus();
  return InvalidCalibration(field + " is " + (id.empty() ? "empty" : InMessage(id)) + "; choose 1 to " +
                            std::to_string(kCalibrationIdBytesMax) + " of the characters A-Z a-z 0-9 . _ : / -");
}

}  // namespace quantd::server
