// quantctl, the command line of quantd. client/cli/run_command_line.cc lists its commands.
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <string>

#include "client/cli/connect.h"
#include "client/cli/interrupt.h"
#include "client/cli/run_command_line.h"

namespace {

// Connect, with the environment's CPU target where the command line names none.
absl::StatusOr<std::shared_ptr<quantd::Client>> ConnectAsToldByEnvironment(const quantd::cli::ServerChoice& server) {
  quantd::cli::ServerChoice chosen = server;
  const char* const cpu_target = std::getenv("QUANTD_CPU_TARGET");
  if (chosen.cpu_target.empty() && cpu_target != nullptr) chosen.cpu_target = cpu_target;
  return quantd::cli::Connect(chosen);
}

}  // namespace

int main(int argc, char** argv) {
  static quantd::CancelToken cancel;  // signal handlers need it to the very end
  quantd::cli::CancelOnSignals(cancel);
  const quantd::RealClock clock;
  quantd::cli::Environment environment{std::cout,
                                       std::cerr,
                                       ::isatty(STDERR_FILENO) == 1,
                                       clock,
                                       cancel,
                                       quantd::cli::FirstInterruption,
                                       ConnectAsToldByEnvironment,
                                       &std::cin};
  const quantd::cli::ExitCode code = quantd::cli::RunCommandLine(argc, argv, environment);
  if (!std::cout.flush()) return static_cast<int>(quantd::cli::ExitCode::kFile);
  return static_cast<int>(code);
}
