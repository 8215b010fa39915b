// BenchPeers over real gRPC.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/bench_peers.h"
#include "client/cli/environment.h"

namespace quantd::cli {

// The server at its address; without one, a server in a process that this program starts of itself, which then needs
// ServeBench, with `environment`. The echoes are in such a process either way. A usage error as Connect's.
absl::StatusOr<std::unique_ptr<BenchPeers>> MakeBenchPeers(const ServerChoice& server,
                                                           std::vector<std::string> environment);

}  // namespace quantd::cli
