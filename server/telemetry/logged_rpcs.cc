#include "server/telemetry/logged_rpcs.h"

#include <string>

namespace quantd::server {
namespace {

LogLevel LevelOf(const RpcRecord& record) {
  switch (record.status.code()) {
    case absl::StatusCode::kOk:
      return record.tensors_failed == 0 ? LogLevel::kInfo : LogLevel::kWarning;
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kUnimplemented:
      return LogLevel::kError;
    default:
      return LogLevel::kWarning;
  }
}

}  // namespace

void LoggedRpcs::Record(const RpcRecord& record) {
  logger_.Write(LevelOf(record), "rpc",
                {{"method", record.method},
                 {"peer", record.peer},
                 {"principal", record.principal},
                 {"code", absl::StatusCodeToString(record.status.code())},
                 {"reason", record.reason},
                 {"error", std::string(record.status.message())},
                 {"tensors_done", record.tensors_done},
                 {"tensors_failed", record.tensors_failed},
                 {"bytes_received", record.bytes_received},
                 {"bytes_sent", record.bytes_sent},
                 {"receive_ms", absl::ToDoubleMilliseconds(record.receive_time)},
                 {"queue_ms", absl::ToDoubleMilliseconds(record.queue_time)},
                 {"compute_ms", absl::ToDoubleMilliseconds(record.compute_time)},
                 {"total_ms", absl::ToDoubleMilliseconds(record.total_time)}});
}

}  // namespace quantd::server
