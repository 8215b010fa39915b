// BenchPeers over real gRPC.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "client/cli/bench_peers.h"
#include "client/cli/environment.h"

namespace quantd::cli {

// The server at its address; without one, a server in this process that is reached over TCP like any other. A usage
// error as Connect's.
absl::StatusOr<std::unique_ptr<BenchPeers>> MakeBenchPeers(const ServerChoice& server);

}  // namespace quantd::cli
