#include "client/cli/dequantize_command.h"

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>
#include <set>

#include "absl/strings/str_cat.h"
#include "client/cli/conversion.h"
#include "client/cli/metadata.h"
#include "kernels/base/error.h"
#include "kernels/base/status_macros.h"
#include "kernels/scheme/plan.h"
#include "server/conversion/printable.h"
#include "server/conversion/safetensors_reader.h"

namespace quantd::cli {
namespace {

using server::Quoted;
using server::SafetensorsEntry;
using server::SafetensorsReader;

// `status` of something that the file says, with where in front.
absl::Status Unreadable(const absl::Status& status, const std::string& name) {
  absl::Status named(status.code(), absl::StrCat("tensor ", Quoted(name), ": ", std::string(status.message())));
  return WithExitCode(WithDetails(std::move(named), DetailsOf(status)), ExitCode::kFile);
}

absl::Status CheckSegment(const SafetensorsEntry* entry, const SegmentLayout& segment, const std::string& name) {
  if (entry == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("the file has no ", Quoted(name), "; is it incomplete?"));
  }
  if (DataTypeNamed(entry->dtype.name) != segment.dtype || entry->size_bytes() != segment.bytes ||
      entry->shape != segment.shape) {
    return absl::InvalidArgumentError(
        absl::StrCat(Quoted(name), " has another type or shape than its scheme in the metadata says"));
  }
  return absl::OkStatus();
}

absl::StatusOr<ConversionStep> PlanStep(const SafetensorsReader& input, const std::string& name,
                                        const ConvertedTensor& converted, DataType dtype) {
  QUANTD_ASSIGN_OR_RETURN(const Scheme scheme, ResolveScheme(converted.scheme));
  QUANTD_ASSIGN_OR_RETURN(const Plan plan, MakePlan(scheme, Direction::kDequantize, dtype, converted.shape));
  ConversionStep step{name, dtype, converted.shape, FullyResolved(plan.scheme), {}, {}, {}, {}};
  for (const SegmentLayout& segment : plan.WireInputs()) {
    const std::string tensor = SegmentTensorName(name, segment.name);
    const SafetensorsEntry* entry = input.Find(tensor);
    QUANTD_RETURN_IF_ERROR(CheckSegment(entry, segment, tensor));
    step.inputs.push_back(entry);
  }
  for (const SegmentLayout& values : plan.WireOutputs()) {
    step.outputs.push_back({values.name, name, values.dtype, values.shape, values.bytes});
  }
  return step;
}

}  // namespace

void AddDequantizeCommand(CLI::App& app, ChosenCommand& chosen) {
  auto arguments = std::make_shared<DequantizeArguments>();
  CLI::App* command = app.add_subcommand("dequantize", "Turn a file that `quantize` wrote back into floats");
  command->add_option("IN", arguments->input_path, "Safetensors file that `quantctl quantize` wrote")->required();
  command->add_option("OUT", arguments->output_path, "Safetensors file to write")->required();
  command->add_option("--dtype", arguments->dtype, "Type of the values. Default: what each tensor was before")
      ->check(CLI::IsMember({"float32", "float16", "bfloat16"}));
  AddCallOptions(*command, arguments->call);
  AddJsonFlag(*command, arguments->json);
  command->callback([arguments, &chosen] {
    chosen.json = arguments->json;
    chosen.run = [arguments](Environment& environment) { return RunDequantize(*arguments, environment); };
  });
}

absl::StatusOr<ExitCode> RunDequantize(const DequantizeArguments& arguments, Environment& environment) {
  absl::StatusOr<std::shared_ptr<const SafetensorsReader>> input = SafetensorsReader::Open(arguments.input_path);
  if (!input.ok()) return WithExitCode(input.status(), ExitCode::kFile);
  const absl::StatusOr<ConvertedTensors> converted = ConvertedTensorsOf((*input)->metadata());
  if (!converted.ok()) return WithExitCode(converted.status(), ExitCode::kFile);
  if (converted->empty()) {
    return UsageError(absl::StrCat(Quoted(arguments.input_path), " holds no tensor that `quantctl quantize` made"));
  }

  Conversion conversion{Conversion::Kind::kDequantize, arguments.input_path, arguments.output_path, *input, {}, {},
                        (*input)->metadata()};
  conversion.metadata.erase(kMetadataKey);
  std::set<const SafetensorsEntry*> consumed;
  for (const auto& [name, tensor] : *converted) {
    const DataType dtype = arguments.dtype.empty() ? tensor.dtype : *DataTypeNamed(arguments.dtype);
    absl::StatusOr<ConversionStep> step = PlanStep(**input, name, tensor, dtype);
    if (!step.ok()) return Unreadable(step.status(), name);
    consumed.insert(step->inputs.begin(), step->inputs.end());
    conversion.steps.push_back(*std::move(step));
  }
  for (const SafetensorsEntry& entry : (*input)->tensors()) {
    if (consumed.count(&entry) == 0) conversion.copied.push_back(&entry);
  }
  QUANTD_ASSIGN_OR_RETURN(const ConversionReport report, RunConversion(conversion, arguments.call, environment));
  environment.out << (arguments.json ? FormatJson(report) : FormatTable(report));
  return ExitCode::kOk;
}

}  // namespace quantd::cli
