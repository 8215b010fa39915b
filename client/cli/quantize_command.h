// quantctl quantize: float tensors of a safetensors file become codes and scales.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/common_options.h"
#include "client/cli/environment.h"
#include "client/cli/tensor_selection.h"

namespace quantd::cli {

struct QuantizeArguments {
  std::string input_path;
  std::string output_path;
  std::string preset;
  std::vector<std::string> settings;  // KEY=VALUE
  SelectionArguments selection;
  std::string params_path;
  std::string calibration_path;
  std::string range_method;
  std::optional<double> percentile;
  std::string smoothing_path;
  std::string importance_path;
  bool metrics = false;
  CallArguments call;
  bool json = false;
};

void AddQuantizeCommand(CLI::App& app, ChosenCommand& chosen);

absl::StatusOr<ExitCode> RunQuantize(const QuantizeArguments& arguments, Environment& environment);

}  // namespace quantd::cli
