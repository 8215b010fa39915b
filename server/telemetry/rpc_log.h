// One line per RPC, for people and for machines.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace quantd::server {

// What happened in one RPC.
struct RpcRecord {
  std::string method;     // "Quantize"
  std::string peer;       // "ipv4:127.0.0.1:50312"
  std::string principal;  // "anonymous", "uid:1000"
  absl::Status status;
  std::string reason;  // of the RPC's or the first failed tensor's error; may be empty
  uint64_t tensors_done = 0;
  uint64_t tensors_failed = 0;
  uint64_t bytes_received = 0;  // data bytes
  uint64_t bytes_sent = 0;
  absl::Duration receive_time, queue_time, compute_time, total_time;
};

class RpcLog {
 public:
  virtual ~RpcLog() = default;
  // Safe from any thread; does not block on I/O for long and never fails.
  virtual void Record(const RpcRecord& record) = 0;
};

}  // namespace quantd::server
