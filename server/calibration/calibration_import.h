// A `.qcal` file on its way into a session.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/calibrate/calibration_file.h"
#include "server/calibration/calibration_store.h"
#include "server/session/principal.h"

namespace quantd::server {

// quantd.v1.ImportTarget.
struct ImportTarget {
  std::string session_id;
  std::string import_id;
  uint32_t expected_contributions = 0;
};

// Keeps the tensors, in memory that the session's budget grants, until the file has proved whole; then all of them
// count at once. What does not come to that leaves nothing behind. Not thread-safe.
class CalibrationImport {
 public:
  struct Result {
    CalibrationInfo info;
    uint64_t merged_tensors = 0;
    uint64_t repeated_tensors = 0;
  };

  // INVALID_CALIBRATION: ids. `store` must outlive it.
  static absl::StatusOr<std::unique_ptr<CalibrationImport>> Start(ImportTarget target, Principal principal,
                                                                  CalibrationStore& store, uint32_t name_bytes_max,
                                                                  uint64_t memory_bytes_max);

  // The file's next bytes. Errors: those of CalibrationReader, CalibrationStore::Join, CalibrationSession::Reserve, and
  // INVALID_NAME. After one, it is of no more use.
  absl::Status Feed(std::span<const std::byte> bytes) { return reader_.Feed(bytes); }
  // After the last ones. Also the errors of CalibrationSession::CountAll.
  absl::StatusOr<Result> Finish();

 private:
  CalibrationImport(ImportTarget target, Principal principal, CalibrationStore& store, uint32_t name_bytes_max,
                    uint64_t memory_bytes_max);
  absl::Status TakeTensor(std::string name, TensorStatistics statistics);

  const ImportTarget target_;
  const Principal principal_;
  CalibrationStore& store_;
  const uint32_t name_bytes_max_;
  std::optional<SessionUse> session_;
  std::map<std::string, ContributedStatistics> tensors_;
  CalibrationReader reader_;
};

}  // namespace quantd::server
