// quantctl bench: how fast a server is, beside echoes of the same messages.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/bench_run.h"
#include "client/cli/common_options.h"
#include "client/cli/environment.h"

namespace quantd::cli {

struct BenchArguments {
  ServerChoice server;
  std::string preset = "bnb-nf4";
  std::vector<std::string> settings;  // KEY=VALUE
  std::string dtype = "float32";
  std::string lending = "none";
  uint64_t tensor_mib = 256;
  BenchSettings bench;
  bool json = false;
};

void AddBenchCommand(CLI::App& app, ChosenCommand& chosen);

absl::StatusOr<ExitCode> RunBenchCommand(const BenchArguments& arguments, Environment& environment);

}  // namespace quantd::cli
