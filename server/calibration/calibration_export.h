// A session's statistics as the bytes of a `.qcal` file, part by part.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "kernels/calibrate/calibration_file.h"
#include "server/calibration/calibration_session.h"

namespace quantd::server {

// Holds the bytes of one tensor and one part at most. Not thread-safe.
class CalibrationExport {
 public:
  // CALIBRATION_OPEN, UNKNOWN_CALIBRATION. Later contributions to new tensors are not part of it.
  static absl::StatusOr<std::unique_ptr<CalibrationExport>> Start(std::shared_ptr<CalibrationSession> session,
                                                                  absl::Time now);

  // The next `bytes_max` bytes, fewer at the end; empty: that was all.
  absl::StatusOr<std::string> Next(size_t bytes_max);

 private:
  CalibrationExport(std::shared_ptr<CalibrationSession> session, std::map<std::string, ClosedTensor> tensors);

  const std::shared_ptr<CalibrationSession> session_;  // whose budget the tensors are part of
  const std::map<std::string, ClosedTensor> tensors_;
  std::map<std::string, ClosedTensor>::const_iterator next_;
  std::string buffer_;
  CalibrationWriter writer_;
  bool finished_ = false;
};

// Of the whole file.
struct CalibrationDigest {
  uint64_t size_bytes = 0;
  uint32_t crc32c = 0;
};
// Errors as CalibrationExport::Start.
absl::StatusOr<CalibrationDigest> DigestOf(const std::shared_ptr<CalibrationSession>& session, absl::Time now);

}  // namespace quantd::server
