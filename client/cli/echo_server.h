// The echo that quantd is measured beside: gRPC with the same messages, and nothing computed.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "client/cli/bench_peers.h"

namespace quantd::cli {

// On a port of the loopback interface, until the result is gone. UNAVAILABLE if there is none.
absl::StatusOr<std::unique_ptr<EchoBaseline>> StartEchoServer(const EchoSettings& settings);

}  // namespace quantd::cli
