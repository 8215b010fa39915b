// quantctl info: what a server is, and its limits.
#pragma once

#include "absl/status/statusor.h"
#include "client/cli/environment.h"

namespace CLI {
class App;
}

namespace quantd::cli {

struct InfoArguments {
  ServerChoice server;
  bool json = false;
};

void AddInfoCommand(CLI::App& app, ChosenCommand& chosen);

absl::StatusOr<ExitCode> RunInfo(const InfoArguments& arguments, Environment& environment);

}  // namespace quantd::cli
