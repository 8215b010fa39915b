// quantctl calibrate: tensors of safetensors files or of standard input become statistics; `.qcal` files are merged,
// shown and drawn.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/common_options.h"
#include "client/cli/environment.h"
#include "client/cli/tensor_selection.h"

namespace quantd::cli {

struct CalibrateArguments {
  std::vector<std::string> inputs;  // safetensors files, or .qcal files
  std::vector<std::string> merged;  // .qcal files
  bool from_stdin = false;
  std::string stdin_name, stdin_dtype, stdin_shape;  // "x", "float32", "4x8"
  std::vector<std::string> settings;                 // KEY=VALUE
  SelectionArguments selection;
  std::string session_id;       // empty: one of its own, which is deleted in the end
  std::string contribution_id;  // required with a session
  uint32_t expected_contributions = 0;
  std::string output_path;
  bool show = false;
  std::string shown_tensor;
  std::string range_method;
  std::string range_target;
  std::optional<double> percentile;
  bool asymmetric = false;
  std::string plot_path;
  CallArguments call;
  bool json = false;
};

void AddCalibrateCommand(CLI::App& app, ChosenCommand& chosen);

absl::StatusOr<ExitCode> RunCalibrate(const CalibrateArguments& arguments, Environment& environment);

}  // namespace quantd::cli
