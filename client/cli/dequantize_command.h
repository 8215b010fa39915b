// quantctl dequantize: a file that quantize wrote becomes float tensors again.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "client/cli/common_options.h"
#include "client/cli/environment.h"

namespace quantd::cli {

struct DequantizeArguments {
  std::string input_path;
  std::string output_path;
  std::string dtype;  // empty: what each tensor was before
  CallArguments call;
  bool json = false;
};

void AddDequantizeCommand(CLI::App& app, ChosenCommand& chosen);

absl::StatusOr<ExitCode> RunDequantize(const DequantizeArguments& arguments, Environment& environment);

}  // namespace quantd::cli
