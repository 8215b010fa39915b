#include "client/cpp/calibration_calls.h"

#include <algorithm>
#include <utility>

#include "client/cpp/grpc_status.h"
#include "client/cpp/wire_convert.h"
#include "kernels/base/status_macros.h"

namespace quantd {
namespace {

constexpr uint32_t kPageTensors = 1000;
constexpr uint32_t kPageSessions = 1000;
constexpr size_t kMessageDataBytes = 1 << 20;

void Append(const v1::GetCalibrationResponse& response, CalibrationResults& results) {
  results.state = FromWire(response.calibration());
  if (response.has_digest()) {
    results.digest = CalibrationDigest{response.digest().size_bytes(), response.digest().crc32c()};
  }
  for (const v1::CalibratedTensor& tensor : response.tensors()) results.tensors.push_back(FromWire(tensor));
  if (response.has_fused_range()) results.fused_range = FromWire(response.fused_range());
}

bool Cancelled(const CancelToken* cancel) { return cancel != nullptr && cancel->cancelled(); }

absl::Status CancelledByCaller() { return absl::CancelledError("The caller cancelled the call."); }

AttemptResult Ended(const grpc::Status& status) {
  RemoteError error = FromGrpcStatus(status);
  return {std::move(error.status), true, error.retry_delay};
}

}  // namespace

absl::StatusOr<CalibrationState> CalibrationCalls::Describe(const std::string& session_id) const {
  v1::GetCalibrationRequest request;
  request.set_session_id(session_id);
  v1::GetCalibrationResponse response;
  QUANTD_RETURN_IF_ERROR(unary(
      [&](Stub& stub, grpc::ClientContext& context) { return stub.GetCalibration(&context, request, &response); }));
  return FromWire(response.calibration());
}

absl::StatusOr<CalibrationResults> CalibrationCalls::Get(const std::string& session_id,
                                                         const CalibrationQuery& query) const {
  v1::GetCalibrationRequest request;
  request.set_session_id(session_id);
  Fill(query, request);
  request.set_page_size(kPageTensors);
  CalibrationResults results;
  do {
    v1::GetCalibrationResponse response;
    QUANTD_RETURN_IF_ERROR(unary(
        [&](Stub& stub, grpc::ClientContext& context) { return stub.GetCalibration(&context, request, &response); }));
    Append(response, results);
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  return results;
}

absl::StatusOr<CalibrationState> CalibrationCalls::Seal(const std::string& session_id) const {
  v1::SealCalibrationRequest request;
  request.set_session_id(session_id);
  v1::SealCalibrationResponse response;
  QUANTD_RETURN_IF_ERROR(unary(
      [&](Stub& stub, grpc::ClientContext& context) { return stub.SealCalibration(&context, request, &response); }));
  return FromWire(response.calibration());
}

absl::StatusOr<std::vector<CalibrationState>> CalibrationCalls::List() const {
  v1::ListCalibrationsRequest request;
  request.set_page_size(kPageSessions);
  std::vector<CalibrationState> states;
  do {
    v1::ListCalibrationsResponse response;
    QUANTD_RETURN_IF_ERROR(unary(
        [&](Stub& stub, grpc::ClientContext& context) { return stub.ListCalibrations(&context, request, &response); }));
    for (const v1::Calibration& calibration : response.calibrations()) states.push_back(FromWire(calibration));
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  return states;
}

absl::Status CalibrationCalls::Delete(const std::string& session_id) const {
  v1::DeleteCalibrationRequest request;
  request.set_session_id(session_id);
  v1::DeleteCalibrationResponse response;
  return unary(
      [&](Stub& stub, grpc::ClientContext& context) { return stub.DeleteCalibration(&context, request, &response); });
}

AttemptResult ExportOnce(v1::QuantizationService::Stub& stub, grpc::ClientContext& context,
                         const std::string& session_id,
                         const std::function<absl::Status(std::span<const std::byte>)>& sink,
                         const CancelToken* cancel) {
  v1::ExportCalibrationRequest request;
  request.set_session_id(session_id);
  const auto reader = stub.ExportCalibration(&context, request);
  v1::ExportCalibrationResponse response;
  bool advanced = false;
  absl::Status own;
  while (own.ok() && reader->Read(&response)) {
    own = Cancelled(cancel) ? CancelledByCaller() : sink(std::as_bytes(std::span(response.data())));
    advanced = true;
  }
  if (!own.ok()) context.TryCancel();
  AttemptResult result = Ended(reader->Finish());
  if (!own.ok()) result = {std::move(own)};
  result.advanced = advanced;
  result.may_repeat = result.may_repeat && !advanced;
  return result;
}

AttemptResult ImportOnce(v1::QuantizationService::Stub& stub, grpc::ClientContext& context,
                         const v1::ImportTarget& target, std::span<const std::byte> qcal, const CancelToken* cancel,
                         ImportOutcome& outcome) {
  v1::ImportCalibrationResponse response;
  const auto writer = stub.ImportCalibration(&context, &response);
  v1::ImportCalibrationRequest request;
  *request.mutable_target() = target;
  bool going = true;
  do {
    const std::span<const std::byte> part = qcal.first(std::min(qcal.size(), kMessageDataBytes));
    request.set_data(part.data(), part.size());
    going = !Cancelled(cancel) && writer->Write(request);
    request.Clear();
    qcal = qcal.subspan(part.size());
  } while (going && !qcal.empty());
  if (Cancelled(cancel)) {
    context.TryCancel();
    writer->Finish();
    return {CancelledByCaller()};
  }
  writer->WritesDone();
  AttemptResult result = Ended(writer->Finish());
  if (result.status.ok()) {
    outcome = {FromWire(response.calibration()), response.merged_tensors(), response.repeated_tensors()};
  }
  return result;
}

}  // namespace quantd
