// quantctl, the command line of quantd. client/cli/run_command_line.cc lists its commands.
#include <unistd.h>

#include <iostream>

#include "client/cli/connect.h"
#include "client/cli/interrupt.h"
#include "client/cli/run_command_line.h"

int main(int argc, char** argv) {
  static quantd::CancelToken cancel;  // signal handlers need it to the very end
  quantd::cli::CancelOnSignals(cancel);
  const quantd::RealClock clock;
  quantd::cli::Environment environment{
      std::cout,           std::cerr, ::isatty(STDERR_FILENO) == 1, clock, cancel, quantd::cli::FirstInterruption,
      quantd::cli::Connect};
  const quantd::cli::ExitCode code = quantd::cli::RunCommandLine(argc, argv, environment);
  if (!std::cout.flush()) return static_cast<int>(quantd::cli::ExitCode::kFile);
  return static_cast<int>(code);
}
