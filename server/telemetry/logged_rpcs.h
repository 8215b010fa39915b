// The RPC log on a logger.
#pragma once

#include "server/telemetry/logger.h"
#include "server/telemetry/rpc_log.h"

namespace quantd::server {

// One line "rpc" for each record: method, peer, principal, code (as "OK" or "INVALID_ARGUMENT"), reason, error,
// tensors_done, tensors_failed, bytes_received, bytes_sent, receive_ms, queue_ms, compute_ms, total_ms.
// Level: error where the server is at fault, warning for any other failure, else info.
class LoggedRpcs final : public RpcLog {
 public:
  // `logger` must outlive this.
  explicit LoggedRpcs(Logger& logger) : logger_(logger) {}

  void Record(const RpcRecord& record) override;

 private:
  Logger& logger_;
};

}  // namespace quantd::server
