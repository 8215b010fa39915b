// quantctl smooth: SmoothQuant on a model's safetensors file, from activations or their calibration.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/common_options.h"
#include "client/cli/environment.h"
#include "kernels/calibrate/smooth.h"

namespace quantd::cli {

struct SmoothArguments {
  std::string model_path;
  std::vector<std::string> weights;   // tensors [outputs, inputs] of the model that have the same input
  std::vector<std::string> previous;  // a norm's tensors, or a linear's weight and bias, that make that input
  std::string activations_path;
  std::string activation;  // tensor of it
  std::string calibration_path;
  std::string calibrated;  // tensor of it
  SmoothOptions options;
  uint64_t tokens_max = 32;
  uint64_t group_size = 128;
  std::string output_path;
  std::string factors_path;
  bool json = false;
};

void AddSmoothCommand(CLI::App& app, ChosenCommand& chosen);

absl::StatusOr<ExitCode> RunSmooth(const SmoothArguments& arguments, Environment& environment);

}  // namespace quantd::cli
