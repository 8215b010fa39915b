// Turns one safetensors file into another: some tensors go through the server, the others are copied.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/common_options.h"
#include "client/cli/conversion_report.h"
#include "client/cli/environment.h"
#include "client/cli/segment_writer.h"
#include "client/cpp/client.h"
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
  std::optional<float> offset;
};

struct Conversion {
  enum class Kind { kQuantize, kDequantize };

  Kind kind{};
  std::string input_path;
  std::string output_path;
  const server::SafetensorsReader* input = nullptr;
  std::vector<ConversionStep> steps;
  std::vector<const server::SafetensorsEntry*> copied;
  std::map<std::string, std::string> metadata;  // of the new file
};

// Does it all or leaves no output. Errors carry their exit code.
absl::StatusOr<ConversionReport> RunConversion(const Conversion& conversion, const CallArguments& arguments,
                                               Environment& environment);

}  // namespace quantd::cli
