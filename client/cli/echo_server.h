// The echo that quantd is measured beside: gRPC with the same messages, and nothing computed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/bench_peers.h"

namespace quantd::cli {

// As much as quantd takes in one message, with its fields.
inline constexpr int kEchoMessageBytesMax = 8 << 20;

class EchoServer {
 public:
  // On a free port of the loopback interface, until the result is gone. UNAVAILABLE if there is none.
  static absl::StatusOr<std::unique_ptr<EchoServer>> Start(const EchoSettings& settings);
  virtual ~EchoServer() = default;

  // "127.0.0.1:PORT".
  virtual std::string address() const = 0;
};

// Copies the parts one behind another to `memory`, which grows as needed, and returns their CRC32C: what both ends of a
// checking echo do.
uint32_t Gather(std::span<const std::span<const std::byte>> parts, std::vector<std::byte>& memory);

}  // namespace quantd::cli
