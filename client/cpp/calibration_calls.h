// The methods about calibration sessions, request by request.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cpp/client.h"
#include "client/cpp/retry.h"
#include "grpcpp/client_context.h"
#include "quantd/v1/quantization_service.grpc.pb.h"

namespace quantd {

// Makes requests; what is tried again, and when, is the caller's affair.
struct CalibrationCalls {
  using Stub = v1::QuantizationService::Stub;
  // Runs a request until it succeeds or fails for good.
  std::function<absl::Status(const std::function<grpc::Status(Stub&, grpc::ClientContext&)>&)> unary;

  absl::StatusOr<CalibrationState> Describe(const std::string& session_id) const;
  absl::StatusOr<CalibrationResults> Get(const std::string& session_id, const CalibrationQuery& query) const;
  absl::StatusOr<CalibrationState> Seal(const std::string& session_id) const;
  absl::StatusOr<std::vector<CalibrationState>> List() const;
  absl::Status Delete(const std::string& session_id) const;
};

// One attempt to export: hands on what comes. `advanced` says whether `sink` got anything; then it is not to be
// repeated.
AttemptResult ExportOnce(v1::QuantizationService::Stub& stub, grpc::ClientContext& context,
                         const std::string& session_id,
                         const std::function<absl::Status(std::span<const std::byte>)>& sink,
                         const CancelToken* cancel);

// One attempt to import the whole file.
AttemptResult ImportOnce(v1::QuantizationService::Stub& stub, grpc::ClientContext& context,
                         const v1::ImportTarget& target, std::span<const std::byte> qcal, const CancelToken* cancel,
                         ImportOutcome& outcome);

}  // namespace quantd
