// ExportCalibration and ImportCalibration: gRPC's callbacks on one side, a `.qcal` file on the other.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/server_callback.h"
#include "kernels/base/clock.h"
#include "quantd/v1/calibration.pb.h"
#include "server/calibration/calibration_export.h"
#include "server/calibration/calibration_import.h"
#include "server/rpc/calibration_convert.h"
#include "server/rpc/stall_guard.h"
#include "server/session/admission.h"
#include "server/telemetry/rpc_log.h"

namespace quantd::server {

// What both need; they delete themselves when the RPC is over, as gRPC's reactors do. References outlive them.
struct CalibrationStream {
  grpc::CallbackServerContext& rpc;
  Principal principal;
  absl::StatusOr<Admission::Ticket> ticket;  // an error refuses the RPC
  CalibrationStore& store;
  StallGuard& stall_guard;
  ServerIdentity identity;
  const Clock& clock;
  RpcLog& log;
};

grpc::ServerWriteReactor<v1::ExportCalibrationResponse>* MakeExportReactor(CalibrationStream stream,
                                                                           const std::string& session_id);

grpc::ServerReadReactor<v1::ImportCalibrationRequest>* MakeImportReactor(CalibrationStream stream,
                                                                         uint32_t name_bytes_max,
                                                                         uint64_t memory_bytes_max,
                                                                         v1::ImportCalibrationResponse& response);

}  // namespace quantd::server
