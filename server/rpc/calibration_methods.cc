#include "server/rpc/calibration_methods.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "kernels/base/status_macros.h"
#include "server/calibration/calibration_errors.h"
#include "server/calibration/calibration_export.h"

namespace quantd::server {
namespace {

constexpr int kNamedTensorsMax = 256;
constexpr uint32_t kPageTensorsMax = 1000;
constexpr uint32_t kPageSessionsMax = 1000;
constexpr uint32_t kPageSessionsDefault = 100;
// An answer is a message of at most 4 MiB: pages are cut here, and one tensor may have so much.
constexpr size_t kPageBytesMax = 2 << 20;
constexpr size_t kTensorBytesMax = 3 << 20;

absl::Status CheckFits(const v1::GetCalibrationResponse& response, size_t bytes_max) {
  if (response.ByteSizeLong() <= bytes_max) return absl::OkStatus();
  return InvalidCalibration(
      "the results of these tensors do not fit into one message: they have too many buckets. Ask for fewer tensors, "
      "without ranges and importance, or export the session.");
}

absl::Status AddNamed(CalibrationSession& session, const v1::GetCalibrationRequest& request,
                      const WantedResults& wanted, absl::Time now, v1::GetCalibrationResponse& response) {
  if (request.tensors_size() > kNamedTensorsMax) {
    return InvalidCalibration("the request names " + std::to_string(request.tensors_size()) +
                              " tensors; send at most " + std::to_string(kNamedTensorsMax) + ".");
  }
  std::vector<std::shared_ptr<const TensorStatistics>> owners;
  std::vector<const TensorStatistics*> statistics;
  for (const std::string& name : request.tensors()) {
    QUANTD_ASSIGN_OR_RETURN(const ClosedTensor tensor, session.Read(name, now));
    QUANTD_ASSIGN_OR_RETURN(*response.add_tensors(), ToProto(name, tensor, wanted));
    QUANTD_RETURN_IF_ERROR(CheckFits(response, kTensorBytesMax));
    owners.push_back(tensor.statistics);
    statistics.push_back(tensor.statistics.get());
  }
  if (!request.fused()) return absl::OkStatus();
  QUANTD_ASSIGN_OR_RETURN(const Range range, FindSharedRange(statistics, wanted.range.value_or(RangeRequest())));
  Fill(range, *response.mutable_fused_range());
  return absl::OkStatus();
}

absl::Status AddPage(CalibrationSession& session, const v1::GetCalibrationRequest& request, const WantedResults& wanted,
                     absl::Time now, v1::GetCalibrationResponse& response) {
  if (request.fused()) return InvalidCalibration("fused needs `tensors`. Name those that share a range.");
  QUANTD_ASSIGN_OR_RETURN(const auto tensors, session.ReadAll(now));
  const uint32_t count_max = std::min(request.page_size(), kPageTensorsMax);
  for (auto next = tensors.upper_bound(request.page_token()); next != tensors.end(); ++next) {
    const bool full = response.tensors_size() > 0 && response.ByteSizeLong() > kPageBytesMax;
    if (full || response.tensors_size() >= static_cast<int>(count_max)) {
      response.set_next_page_token(response.tensors().rbegin()->name());
      return absl::OkStatus();
    }
    QUANTD_ASSIGN_OR_RETURN(v1::CalibratedTensor tensor, ToProto(next->first, next->second, wanted));
    if (response.tensors_size() > 0 && response.ByteSizeLong() + tensor.ByteSizeLong() > kTensorBytesMax) {
      response.set_next_page_token(response.tensors().rbegin()->name());
      return absl::OkStatus();
    }
    *response.add_tensors() = std::move(tensor);
    QUANTD_RETURN_IF_ERROR(CheckFits(response, kTensorBytesMax));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::GetCalibrationResponse> CalibrationMethods::Get(const Principal& principal,
                                                                   const v1::GetCalibrationRequest& request) const {
  QUANTD_ASSIGN_OR_RETURN(const auto session, store_.Find(principal, request.session_id()));
  WantedResults wanted{std::nullopt, request.importance()};
  if (request.has_range()) {
    QUANTD_ASSIGN_OR_RETURN(wanted.range, FromProto(request.range()));
  }
  v1::GetCalibrationResponse response;
  const absl::Time now = store_.now();
  if (request.tensors_size() > 0) {
    QUANTD_RETURN_IF_ERROR(AddNamed(*session, request, wanted, now, response));
  } else if (request.page_size() > 0) {
    QUANTD_RETURN_IF_ERROR(AddPage(*session, request, wanted, now, response));
  }
  const CalibrationInfo info = session->Describe(now);
  *response.mutable_calibration() = ToProto(info, identity_);
  if (info.readable && request.page_token().empty()) {
    QUANTD_ASSIGN_OR_RETURN(const CalibrationDigest digest, DigestOf(session, now));
    response.mutable_digest()->set_size_bytes(digest.size_bytes);
    response.mutable_digest()->set_crc32c(digest.crc32c);
  }
  return response;
}

absl::StatusOr<v1::SealCalibrationResponse> CalibrationMethods::Seal(const Principal& principal,
                                                                     const v1::SealCalibrationRequest& request) const {
  QUANTD_ASSIGN_OR_RETURN(const auto session, store_.Find(principal, request.session_id()));
  session->Seal(store_.now());
  v1::SealCalibrationResponse response;
  *response.mutable_calibration() = ToProto(session->Describe(store_.now()), identity_);
  return response;
}

absl::StatusOr<v1::ListCalibrationsResponse> CalibrationMethods::List(
    const Principal& principal, const v1::ListCalibrationsRequest& request) const {
  const uint32_t wanted = request.page_size() == 0 ? kPageSessionsDefault : request.page_size();
  const size_t count_max = std::min(wanted, kPageSessionsMax);
  auto sessions = store_.List(principal, request.page_token(), count_max + 1);
  v1::ListCalibrationsResponse response;
  if (sessions.size() > count_max) {
    sessions.pop_back();
    response.set_next_page_token(sessions.back()->id());
  }
  for (const auto& session : sessions) {
    *response.add_calibrations() = ToProto(session->Describe(store_.now()), identity_);
  }
  return response;
}

absl::StatusOr<v1::DeleteCalibrationResponse> CalibrationMethods::Delete(
    const Principal& principal, const v1::DeleteCalibrationRequest& request) const {
  QUANTD_RETURN_IF_ERROR(store_.Delete(principal, request.session_id()));
  return v1::DeleteCalibrationResponse();
}

}  // namespace quantd::server
