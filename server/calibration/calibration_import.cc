#include "server/calibration/calibration_import.h"

#include <utility>

#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "kernels/base/status_macros.h"
#include "kernels/base/utf8.h"
#include "server/calibration/calibration_errors.h"

namespace quantd::server {

absl::StatusOr<std::unique_ptr<CalibrationImport>> CalibrationImport::Start(ImportTarget target, Principal principal,
                                                                            CalibrationStore& store,
                                                                            uint32_t name_bytes_max,
                                                                            uint64_t memory_bytes_max) {
  QUANTD_RETURN_IF_ERROR(CheckId("session_id", target.session_id));
  QUANTD_RETURN_IF_ERROR(CheckId("import_id", target.import_id));
  return std::unique_ptr<CalibrationImport>(
      new CalibrationImport(std::move(target), std::move(principal), store, name_bytes_max, memory_bytes_max));
}

CalibrationImport::CalibrationImport(ImportTarget target, Principal principal, CalibrationStore& store,
                                     uint32_t name_bytes_max, uint64_t memory_bytes_max)
    : target_(std::move(target)),
      principal_(std::move(principal)),
      store_(store),
      name_bytes_max_(name_bytes_max),
      reader_(
          {.tensors_max = kCalibrationTensorsMax, .memory_bytes_max = memory_bytes_max},
          [this](const StatisticsConfig& config) -> absl::Status {
            QUANTD_ASSIGN_OR_RETURN(SessionUse session, store_.Join(principal_, target_.session_id, config,
                                                                    target_.expected_contributions));
            session_.emplace(std::move(session));
            return absl::OkStatus();
          },
          [this](std::string name, TensorStatistics statistics) {
            return TakeTensor(std::move(name), std::move(statistics));
          }) {}

absl::Status CalibrationImport::TakeTensor(std::string name, TensorStatistics statistics) {
  if (name.size() > name_bytes_max_ || !IsUtf8(name)) {
    return InvalidArgument(reason::kInvalidName, "the file has a tensor whose name is no UTF-8 or has more than " +
                                                     std::to_string(name_bytes_max_) +
                                                     " bytes, the most that this server takes.");
  }
  QUANTD_ASSIGN_OR_RETURN(ReservedBytes reserved, (*session_)->Reserve(name, target_.import_id, statistics));
  tensors_.emplace(std::move(name), ContributedStatistics{std::move(statistics), std::move(reserved)});
  return absl::OkStatus();
}

absl::StatusOr<CalibrationImport::Result> CalibrationImport::Finish() {
  QUANTD_RETURN_IF_ERROR(reader_.Finish());
  const absl::Time now = store_.now();
  QUANTD_ASSIGN_OR_RETURN(const auto all, (*session_)->CountAll(target_.import_id, std::move(tensors_), now));
  return Result{(*session_)->Describe(now), all.counted, all.repeated};
}

}  // namespace quantd::server
