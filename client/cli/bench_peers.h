// What `quantctl bench` measures and measures against. Tests give their own.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cpp/client.h"

namespace quantd::cli {

// A server in another process that answers every message with one of a fixed size and computes nothing, on this
// machine, over TCP. Safe from any thread; every call has a connection or a stream of its own.
class EchoBaseline {
 public:
  virtual ~EchoBaseline() = default;
  // Sends `bytes` in messages of `message_bytes`, at most `in_flight_max` of them unanswered, on one stream of a new
  // connection, and waits for all answers. With an `owner` they are sent from where they lie, else copied.
  virtual absl::Status Stream(std::span<const std::byte> bytes, uint64_t message_bytes, uint64_t in_flight_max,
                              const std::shared_ptr<const void>& owner) = 0;
  // One message and its answer, on a new stream of a connection that is there already.
  virtual absl::Status Exchange(std::span<const std::byte> bytes) = 0;
};

struct EchoSettings {
  uint64_t answer_bytes = 0;
  bool gathers_and_checks = false;  // copies and CRC32C at both ends, as quantd and its client do
};

class BenchPeers {
 public:
  virtual ~BenchPeers() = default;
  // Of the server to be measured, over connections of its own: at most `connections_max`.
  virtual absl::StatusOr<std::unique_ptr<Client>> NewClient(uint32_t connections_max) = 0;
  // Of a server in this process that computes with the portable kernels: what results are compared with.
  virtual absl::StatusOr<std::shared_ptr<Client>> Reference() = 0;
  virtual absl::StatusOr<std::unique_ptr<EchoBaseline>> StartEcho(const EchoSettings& settings) = 0;
};

}  // namespace quantd::cli
