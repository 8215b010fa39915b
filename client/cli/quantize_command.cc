#include "client/cli/quantize_command.h"

#include <CLI/CLI.hpp>
#include <memory>
#include <set>

#include "absl/strings/str_cat.h"
#include "client/cli/calibrated_params.h"
#include "client/cli/channel_files.h"
#include "client/cli/conversion.h"
#include "client/cli/metadata.h"
#include "client/cli/params_file.h"
#include "client/cli/qcal_file.h"
#include "client/cpp/local_range.h"
#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "kernels/base/status_macros.h"
#include "kernels/scheme/plan.h"
#include "server/conversion/printable.h"
#include "server/conversion/safetensors_reader.h"

namespace quantd::cli {
namespace {

using server::Quoted;
using server::SafetensorsEntry;
using server::SafetensorsReader;

constexpr char kSelectionRemedy[] = "; or choose with --include and --min-rank which tensors are converted";

// The same status as the caller's fault, with what it is about in front.
absl::Status Unusable(const absl::Status& status, const std::string& what) {
  const bool other_tensors_may_fit = DetailsOf(status).reason == reason::kInvalidShape;
  absl::Status named(status.code(),
                     absl::StrCat(what, std::string(status.message()), other_tensors_may_fit ? kSelectionRemedy : ""));
  return WithExitCode(WithDetails(std::move(named), DetailsOf(status)), ExitCode::kUsage);
}

absl::StatusOr<Scheme> ResolveArguments(const QuantizeArguments& arguments) {
  SchemeRequest request{arguments.preset, {}, 0};
  QUANTD_ASSIGN_OR_RETURN(request.overrides, ParseSettings(arguments.settings));
  absl::StatusOr<Scheme> scheme = ResolveScheme(request);
  if (!scheme.ok()) return Unusable(scheme.status(), "");
  return scheme;
}

absl::StatusOr<TensorParams> ParamsFor(const std::string& path, const std::vector<const SafetensorsEntry*>& selected) {
  if (path.empty()) return TensorParams{};
  QUANTD_ASSIGN_OR_RETURN(TensorParams params, ReadParamsFile(path));
  std::set<std::string> names;
  for (const SafetensorsEntry* entry : selected) names.insert(entry->name);
  for (const auto& [name, statistics] : params) {
    if (names.count(name) == 0) {
      return UsageError(
          absl::StrCat(Quoted(path), ": tensor ", Quoted(name), " is not among the tensors to be quantized"));
    }
  }
  return params;
}

absl::StatusOr<std::optional<CalibrationChoice>> CalibrationOf(const QuantizeArguments& arguments) {
  const server::RangeWords words{arguments.range_method, arguments.percentile, "", {}};
  if (arguments.calibration_path.empty()) {
    if (words.method.empty() && !words.percentile.has_value()) return std::optional<CalibrationChoice>();
    return UsageError("--range-method and --percentile belong to --calibration");
  }
  if (const auto request = server::ParseRangeWords(words); !request.ok()) {
    return WithExitCode(request.status(), ExitCode::kUsage);
  }
  QUANTD_ASSIGN_OR_RETURN(Calibration calibration, ReadQcalFile(arguments.calibration_path));
  return std::optional(CalibrationChoice{std::move(calibration), words});
}

// Files with arrays over the channels, where they are given.
struct ChannelFiles {
  std::optional<ChannelFile> smoothing;
  std::optional<ChannelFile> importance;

  ChannelArrays arrays() const { return {smoothing.has_value(), importance.has_value()}; }
};

absl::StatusOr<ChannelFiles> ChannelFilesOf(const QuantizeArguments& arguments) {
  ChannelFiles files;
  if (!arguments.smoothing_path.empty()) {
    QUANTD_ASSIGN_OR_RETURN(files.smoothing, ChannelFile::ReadSafetensors(arguments.smoothing_path));
  }
  if (!arguments.importance_path.empty()) {
    QUANTD_ASSIGN_OR_RETURN(files.importance, ChannelFile::ReadImportance(arguments.importance_path));
  }
  return files;
}

absl::Status AddChannels(const ChannelFiles& files, const Plan& plan, ConversionStep& step) {
  if (files.smoothing.has_value()) {
    QUANTD_ASSIGN_OR_RETURN(step.smoothing_factors, files.smoothing->ChannelsOf(step.name, plan.channel_count()));
  }
  if (files.importance.has_value()) {
    QUANTD_ASSIGN_OR_RETURN(step.importance, files.importance->ChannelsOf(step.name, plan.channel_count()));
  }
  return absl::OkStatus();
}

// The sizes of everything that the server will make must be known before the first byte is written: the same plan that
// the server makes says them.
absl::StatusOr<ConversionStep> PlanStep(const SafetensorsEntry& entry, const Scheme& scheme, KnownStatistics known,
                                        const std::optional<CalibrationChoice>& calibration,
                                        const ChannelFiles& channels) {
  const DataType dtype = *DataTypeNamed(entry.dtype.name);
  const ChannelArrays arrays = channels.arrays();
  absl::StatusOr<Plan> plan = MakePlan(scheme, Direction::kQuantize, dtype, entry.shape, known, arrays);
  if (!plan.ok()) return Unusable(plan.status(), absl::StrCat("tensor ", Quoted(entry.name), ": "));
  if (calibration.has_value() && SpoolsValues(*plan)) {
    QUANTD_ASSIGN_OR_RETURN(known, CalibratedParams(*calibration, entry.name, *plan));
    plan = MakePlan(scheme, Direction::kQuantize, dtype, entry.shape, known, arrays);
    if (!plan.ok()) return Unusable(plan.status(), absl::StrCat("tensor ", Quoted(entry.name), ": "));
  }
  ConversionStep step{entry.name, dtype, entry.shape, FullyResolved(plan->scheme), {&entry}, {}, known, {}, {}, {}};
  QUANTD_RETURN_IF_ERROR(AddChannels(channels, *plan, step));
  for (const SegmentLayout& segment : plan->WireOutputs()) {
    step.outputs.push_back(
        {segment.name, SegmentTensorName(entry.name, segment.name), segment.dtype, segment.shape, segment.bytes});
  }
  // Of smoothed values only the server knows it.
  if (SpoolsValues(*plan) && !arrays.smoothing_factors) step.range_needed_by = *std::move(plan);
  return step;
}

}  // namespace

void AddQuantizeCommand(CLI::App& app, ChosenCommand& chosen) {
  auto arguments = std::make_shared<QuantizeArguments>();
  CLI::App* command = app.add_subcommand("quantize", "Quantize the float tensors of a safetensors file");
  command->add_option("IN", arguments->input_path, "Safetensors file to read")->required();
  command->add_option("OUT", arguments->output_path, "Safetensors file to write")->required();
  command->add_option("--scheme", arguments->preset, "Preset, as bnb-nf4; `quantctl schemes` lists them")
      ->required()
      ->type_name("PRESET");
  command->add_option("--set", arguments->settings, "Override a part of the preset, as block_size=128; repeatable")
      ->allow_extra_args(false)
      ->type_name("KEY=VALUE");
  command
      ->add_option("--include", arguments->selection.include,
                   "Convert only tensors in whose name this RE2 expression is found. Default: every float32, float16 "
                   "and bfloat16 tensor. All others are copied unchanged")
      ->type_name("REGEX");
  command
      ->add_option("--min-rank", arguments->selection.rank_min,
                   "Convert only tensors with at least so many dimensions: 2 leaves biases and norms alone")
      ->type_name("N");
  command
      ->add_option("--params", arguments->params_path,
                   "Statistics that are known already, by tensor: {\"layer.weight\": {\"offset\": 0.0123}}; also "
                   "global_scale, amax, min, max")
      ->type_name("PARAMS.json");
  command
      ->add_option("--calibration", arguments->calibration_path,
                   "Ranges of whole tensors from this calibration, by tensor, where the scheme has one scale for the "
                   "tensor or a global one and --params does not say it")
      ->type_name("FILE.qcal");
  command
      ->add_option("--range-method", arguments->range_method,
                   "With --calibration: minmax, percentile, mse or entropy. Default: minmax")
      ->type_name("METHOD");
  command->add_option("--percentile", arguments->percentile, "With --range-method percentile. Default: 99.99")
      ->type_name("P");
  command
      ->add_option(
          "--smoothing-factors", arguments->smoothing_path,
          "Multiply the columns of each tensor by the factors of this file's tensor of the same name, or of its "
          "tensor smoothing_factors as `quantctl smooth --factors` writes it: float32, one for each column")
      ->type_name("FILE.safetensors");
  command
      ->add_option("--importance", arguments->importance_path,
                   "With --set range=mse: how much the errors of each column count, by tensor; a .qcal of activations "
                   "under the names of their weights (grouping=channel, collect=importance), or float32 tensors")
      ->type_name("FILE");
  command->add_flag("--metrics", arguments->metrics,
                    "Also report how far the decoded values are from the values: mean squared error, largest error, "
                    "signal to noise. The file stays the same");
  AddCallOptions(*command, arguments->call);
  AddJsonFlag(*command, arguments->json);
  command->callback([arguments, &chosen] {
    chosen.json = arguments->json;
    chosen.run = [arguments](Environment& environment) { return RunQuantize(*arguments, environment); };
  });
}

absl::StatusOr<ExitCode> RunQuantize(const QuantizeArguments& arguments, Environment& environment) {
  QUANTD_ASSIGN_OR_RETURN(const Scheme scheme, ResolveArguments(arguments));
  absl::StatusOr<std::shared_ptr<const SafetensorsReader>> input = SafetensorsReader::Open(arguments.input_path);
  if (!input.ok()) return WithExitCode(input.status(), ExitCode::kFile);
  absl::StatusOr<ConvertedTensors> converted = ConvertedTensorsOf((*input)->metadata());
  if (!converted.ok()) return WithExitCode(converted.status(), ExitCode::kFile);
  QUANTD_ASSIGN_OR_RETURN(const auto selected, SelectTensors((*input)->tensors(), *converted, arguments.selection));
  QUANTD_ASSIGN_OR_RETURN(const TensorParams params, ParamsFor(arguments.params_path, selected));

  QUANTD_ASSIGN_OR_RETURN(const std::optional<CalibrationChoice> calibration, CalibrationOf(arguments));

  QUANTD_ASSIGN_OR_RETURN(const ChannelFiles channels, ChannelFilesOf(arguments));

  Conversion conversion{Conversion::Kind::kQuantize, arguments.input_path, arguments.output_path, *input, {}, {},
                        (*input)->metadata(),        arguments.metrics};
  std::set<const SafetensorsEntry*> chosen(selected.begin(), selected.end());
  for (const SafetensorsEntry& entry : (*input)->tensors()) {
    if (chosen.count(&entry) == 0) {
      conversion.copied.push_back(&entry);
      continue;
    }
    const auto known = params.find(entry.name);
    QUANTD_ASSIGN_OR_RETURN(
        ConversionStep step,
        PlanStep(entry, scheme, known == params.end() ? KnownStatistics{} : known->second, calibration, channels));
    (*converted)[entry.name] = {step.scheme, step.values_dtype, step.shape};
    conversion.steps.push_back(std::move(step));
  }
  conversion.metadata[kMetadataKey] = FormatMetadata(*converted);
  QUANTD_ASSIGN_OR_RETURN(const ConversionReport report, RunConversion(conversion, arguments.call, environment));
  environment.out << (arguments.json ? FormatJson(report) : FormatTable(report));
  return ExitCode::kOk;
}

}  // namespace quantd::cli
