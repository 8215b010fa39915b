// The servers that `bench` measures, in a process of their own, as servers are.
//
// gRPC's callbacks run on a few threads that all servers and channels of a process share. What a client and a server in
// one process show is how they get into each other's way.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cli/bench_peers.h"

namespace quantd::cli {

// The first argument of a program that shall call ServeBench.
inline constexpr char kServeBenchArgument[] = "serve-bench";

// The bench's end. Not for several threads at once.
class BenchServers {
 public:
  // Starts `executable` with kServeBenchArgument and that environment ("NAME=value"). The errors are those of
  // ChildProcess::Spawn, and INTERNAL.
  static absl::StatusOr<std::unique_ptr<BenchServers>> Start(const std::string& executable,
                                                             std::vector<std::string> environment);
  // Ends the process, and all servers in it.
  virtual ~BenchServers() = default;

  // The address of a new quantd with its defaults. INVALID_ARGUMENT for a `cpu_target` that this machine lacks;
  // empty: the fastest. INTERNAL for everything else that it could not be started for.
  virtual absl::StatusOr<std::string> StartQuantd(const std::string& cpu_target) = 0;
  // The address of a new EchoServer.
  virtual absl::StatusOr<std::string> StartEcho(const EchoSettings& settings) = 0;
};

// The other process: starts what it is told to on `socket`, until that ends. UNAVAILABLE if it is no socket.
absl::Status ServeBench(int socket);

}  // namespace quantd::cli
