// Turns one safetensors file into another: some tensors go through the server, the others are copied.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/common_options.h"
#include "client/cli/conversion_report.h"
#include "client/cli/environment.h"
#include "client/cli/segment_writer.h"
#include "client/cpp/client.h"
#include "kernels/scheme/plan.h"
#include "server/conversion/safetensors_reader.h"
#include "server/conversion/safetensors_writer.h"

namespace quantd::cli {

// One tensor that goes through the server.
struct ConversionStep {
  std::string name;
  DataType values_dtype{};
  std::vector<uint64_t> shape;
  SchemeRequest scheme;
  std::vector<const server::SafetensorsEntry*> inputs;
  std::vector<ExpectedSegment> outputs;
  KnownStatistics statistics;
  // Quantize: one for each channel of the last axis, or none.
  std::vector<float> smoothing_factors;
  std::vector<float> importance;
  // Quantize, where the server would have to keep the values until it knows their range: the plan that needs it. The
  // values are in a file here, so that it is found by reading them once more.
  std::optional<Plan> range_needed_by;
};

struct Conversion {
  enum class Kind { kQuantize, kDequantize };

  Kind kind{};
  std::string input_path;
  std::string output_path;
  std::shared_ptr<const server::SafetensorsReader> input;
  std::vector<ConversionStep> steps;
  std::vector<const server::SafetensorsEntry*> copied;
  std::map<std::string, std::string> metadata;  // of the new file
  bool error_metrics = false;                   // Quantize
};

// Does it all or leaves no output. Errors carry their exit code.
absl::StatusOr<ConversionReport> RunConversion(const Conversion& conversion, const CallArguments& arguments,
                                               Environment& environment);

}  // namespace quantd::cli
