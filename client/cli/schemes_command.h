// quantctl schemes: the presets of a server.
#pragma once

#include "absl/status/statusor.h"
#include "client/cli/environment.h"

namespace CLI {
class App;
}

namespace quantd::cli {

struct SchemesArguments {
  ServerChoice server;
  bool json = false;
};

void AddSchemesCommand(CLI::App& app, ChosenCommand& chosen);

absl::StatusOr<ExitCode> RunSchemes(const SchemesArguments& arguments, Environment& environment);

}  // namespace quantd::cli
