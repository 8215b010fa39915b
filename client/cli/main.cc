// quantctl, the command line of quantd. client/cli/run_command_line.cc lists its commands.
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "client/cli/bench_servers.h"
#include "client/cli/connect.h"
#include "client/cli/grpc_bench_peers.h"
#include "client/cli/interrupt.h"
#include "client/cli/run_command_line.h"
#include "grpc/grpc.h"
#include "server/lifecycle/lock_tuning.h"
#include "server/lifecycle/memory_tuning.h"
#include "server/worker/child_process.h"

namespace {

// With the environment's CPU target where the command line names none.
quantd::cli::ServerChoice AsToldByEnvironment(quantd::cli::ServerChoice server) {
  const char* const cpu_target = std::getenv("QUANTD_CPU_TARGET");
  if (server.cpu_target.empty() && cpu_target != nullptr) server.cpu_target = cpu_target;
  return server;
}

std::vector<std::string> AllVariables() {
  std::vector<std::string> variables;
  for (char** variable = environ; *variable != nullptr; ++variable) variables.emplace_back(*variable);
  return variables;
}

// What `bench` starts.
int ServeBench() {
  const absl::Status status = quantd::cli::ServeBench(quantd::server::kChildSocket);
  if (!status.ok()) std::cerr << "quantctl: " << status.message() << "\n";
  return static_cast<int>(status.ok() ? quantd::cli::ExitCode::kOk : quantd::cli::ExitCode::kUsage);
}

}  // namespace

int main(int argc, char** argv) {
  quantd::server::SkipLockCycleChecks();
  quantd::server::TuneMalloc();
  if (argc == 2 && std::string(argv[1]) == quantd::cli::kServeBenchArgument) return ServeBench();
  // Whoever is gRPC's last user waits up to ten seconds for a connection whose peer is silent. This one stays.
  grpc_init();
  static quantd::CancelToken cancel;  // signal handlers need it to the very end
  quantd::cli::CancelOnSignals(cancel);
  const quantd::RealClock clock;
  quantd::cli::Environment environment{
      std::cout,
      std::cerr,
      ::isatty(STDERR_FILENO) == 1,
      clock,
      cancel,
      quantd::cli::FirstInterruption,
      [](const auto& server) { return quantd::cli::Connect(AsToldByEnvironment(server)); },
      [](const auto& server) { return quantd::cli::MakeBenchPeers(AsToldByEnvironment(server), AllVariables()); },
      &std::cin};
  const quantd::cli::ExitCode code = quantd::cli::RunCommandLine(argc, argv, environment);
  if (!std::cout.flush()) return static_cast<int>(quantd::cli::ExitCode::kFile);
  return static_cast<int>(code);
}
