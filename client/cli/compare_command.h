// quantctl compare: how far the tensors of two safetensors files are apart.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "client/cli/environment.h"

namespace CLI {
class App;
}

namespace quantd::cli {

struct CompareArguments {
  std::string first_path;
  std::string second_path;
  bool exact = false;  // any differing element counts as a difference
  bool json = false;
};

void AddCompareCommand(CLI::App& app, ChosenCommand& chosen);

// kDiffers if the files do not hold the same names with the same shapes and comparable types, or, with `exact`, if any
// element differs.
absl::StatusOr<ExitCode> RunCompare(const CompareArguments& arguments, Environment& environment);

}  // namespace quantd::cli
