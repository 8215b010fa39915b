#include "client/cli/smooth_command.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/exit_code.h"
#include "client/cli/qcal_file.h"
#include "client/cli/smoothing.h"
#include "client/cli/table.h"
#include "kernels/base/status_macros.h"
#include "kernels/calibrate/ranges.h"
#include "server/conversion/printable.h"
#include "server/conversion/safetensors_writer.h"

namespace quantd::cli {
namespace {

using server::SafetensorsDeclaration;
using server::SafetensorsEntry;
using server::SafetensorsReader;
using server::SafetensorsWriter;

constexpr char kFactorsName[] = "smoothing_factors";

absl::Status Usage(const std::string& message) {
  return WithExitCode(absl::InvalidArgumentError(message), ExitCode::kUsage);
}
absl::Status FileProblem(const absl::Status& status) { return WithExitCode(status, ExitCode::kFile); }

absl::StatusOr<std::unique_ptr<SafetensorsReader>> Open(const std::string& path) {
  auto reader = SafetensorsReader::Open(path);
  if (!reader.ok()) return FileProblem(reader.status());
  return reader;
}

const char* NameOf(ActivationScales scales) {
  return scales == ActivationScales::kPerTensor ? "per tensor" : "per token";
}
const char* NameOf(WeightScales scales) {
  switch (scales) {
    case WeightScales::kPerTensor:
      return "per tensor";
    case WeightScales::kPerChannel:
      return "per channel";
    case WeightScales::kPerGroup:
      return "per group";
  }
  return "";
}

struct WeightReport {
  std::string name;
  std::vector<SmoothingEffect> effects;
};
struct Report {
  std::vector<float> factors;
  std::vector<WeightReport> weights;
};

// What changes in the model: whole tensors, by name.
using Changed = std::map<std::string, std::vector<std::byte>>;

std::vector<std::byte> Copied(std::span<const std::byte> bytes) { return {bytes.begin(), bytes.end()}; }

absl::StatusOr<std::vector<float>> CalibratedAbsmax(const SmoothArguments& arguments) {
  QUANTD_ASSIGN_OR_RETURN(const Calibration calibration, ReadQcalFile(arguments.calibration_path));
  const auto found = calibration.tensors.find(arguments.calibrated);
  if (found == calibration.tensors.end()) {
    return FileProblem(absl::NotFoundError(
        absl::StrCat(arguments.calibration_path, " has no tensor ", server::Quoted(arguments.calibrated))));
  }
  return ChannelAbsmax(found->second);
}

// Divides what makes the weights' input: vectors of one element for each factor, or rows.
absl::StatusOr<std::vector<std::byte>> DividedPrevious(const FloatRows& rows, const std::vector<float>& factors) {
  std::vector<std::byte> bytes = Copied(rows.bytes);
  if (rows.rows == 1 && rows.columns == factors.size()) {
    QUANTD_RETURN_IF_ERROR(DivideVector(rows.dtype, bytes, factors));
  } else {
    QUANTD_RETURN_IF_ERROR(DivideRows(rows.dtype, bytes, rows.columns, factors));
  }
  return bytes;
}

absl::Status WriteModel(const SafetensorsReader& model, const Changed& changed, const std::string& path) {
  std::vector<SafetensorsDeclaration> declarations;
  for (const SafetensorsEntry& entry : model.tensors()) declarations.push_back({entry.name, entry.dtype, entry.shape});
  QUANTD_ASSIGN_OR_RETURN(const auto writer, SafetensorsWriter::Create(path, declarations, model.metadata()));
  for (const SafetensorsEntry& entry : model.tensors()) {
    const auto found = changed.find(entry.name);
    const std::span<const std::byte> bytes =
        found == changed.end() ? model.BytesOf(entry) : std::span<const std::byte>(found->second);
    QUANTD_RETURN_IF_ERROR(writer->Write(entry.name, 0, bytes));
    model.Release(model.BytesOf(entry));
  }
  QUANTD_RETURN_IF_ERROR(model.StillWhole());
  return writer->Finish();
}

absl::Status WriteFactors(const std::vector<float>& factors, const std::string& path) {
  const SafetensorsDeclaration declaration{kFactorsName, *server::SafetensorsDtypeNamed("F32"), {factors.size()}};
  QUANTD_ASSIGN_OR_RETURN(const auto writer, SafetensorsWriter::Create(path, {declaration}, {}));
  QUANTD_RETURN_IF_ERROR(writer->Write(kFactorsName, 0, std::as_bytes(std::span(factors))));
  return writer->Finish();
}

nlohmann::ordered_json ToJson(const Report& report) {
  nlohmann::ordered_json weights = nlohmann::ordered_json::array();
  for (const WeightReport& weight : report.weights) {
    nlohmann::ordered_json effects = nlohmann::ordered_json::array();
    for (const SmoothingEffect& effect : weight.effects) {
      effects.push_back({{"activation_scales", NameOf(effect.activations)},
                         {"weight_scales", NameOf(effect.weights)},
                         {"relative_error_before", effect.before},
                         {"relative_error_after", effect.after}});
    }
    weights.push_back({{"name", weight.name}, {"effects", std::move(effects)}});
  }
  return {{"factors", report.factors}, {"weights", std::move(weights)}};
}

std::string ToText(const Report& report) {
  const auto [least, largest] = std::minmax_element(report.factors.begin(), report.factors.end());
  std::string text = absl::StrFormat("%d factors from %.4g to %.4g\n", report.factors.size(), *least, *largest);
  Table table({{"int8 X and W, error of X W", Table::Align::kLeft},
               {"X", Table::Align::kLeft},
               {"W", Table::Align::kLeft},
               {"before"},
               {"after"},
               {"ratio"}});
  bool any = false;
  for (const WeightReport& weight : report.weights) {
    for (const SmoothingEffect& effect : weight.effects) {
      any = true;
      table.AddRow({server::Escaped(weight.name), NameOf(effect.activations), NameOf(effect.weights),
                    absl::StrFormat("%.5f", effect.before), absl::StrFormat("%.5f", effect.after),
                    effect.after == 0 ? "-" : absl::StrFormat("%.2f", effect.before / effect.after)});
    }
  }
  return any ? text + table.ToString() : text;
}

absl::Status CheckSources(const SmoothArguments& arguments) {
  if (arguments.activations_path.empty() && arguments.calibration_path.empty()) {
    return Usage(
        "give --activations with --activation, or --calibration with --calibrated: whose channels are smoothed?");
  }
  if (!arguments.activations_path.empty() && arguments.activation.empty())
    return Usage("--activation names the tensor");
  if (!arguments.calibration_path.empty() && arguments.calibrated.empty())
    return Usage("--calibrated names the tensor");
  return absl::OkStatus();
}

}  // namespace

void AddSmoothCommand(CLI::App& app, ChosenCommand& chosen) {
  auto arguments = std::make_shared<SmoothArguments>();
  CLI::App* command = app.add_subcommand(
      "smooth",
      "Move the outliers of activations into the weights that they meet (SmoothQuant), and say what it gains");
  command->add_option("MODEL", arguments->model_path, "Safetensors file")->required();
  command
      ->add_option("--weight", arguments->weights,
                   "Tensor [outputs, inputs] whose columns are multiplied; repeatable, for weights with the same input")
      ->required();
  command->add_option("--previous", arguments->previous,
                      "Tensor that makes that input and is divided: a norm's weight or bias [inputs], a linear's "
                      "weight [inputs, ...] or bias; repeatable");
  command->add_option("--activations", arguments->activations_path, "Safetensors file with the input's values");
  command->add_option("--activation", arguments->activation, "Tensor [..., inputs] of it");
  command->add_option("--calibration", arguments->calibration_path,
                      "File of quantctl calibrate --set grouping=channel, in place of values");
  command->add_option("--calibrated", arguments->calibrated, "Tensor of it");
  command->add_option("--alpha", arguments->options.alpha, "How much goes into the weights, 0 to 1")
      ->capture_default_str();
  command->add_option("--report-tokens", arguments->tokens_max, "Rows of activations that the errors are found with")
      ->check(CLI::Range(uint64_t{1}, uint64_t{65536}))
      ->capture_default_str();
  command->add_option("--group-size", arguments->group_size, "Columns of a group in the report")
      ->check(CLI::Range(uint64_t{1}, uint64_t{1} << 20))
      ->capture_default_str();
  command->add_option("--out", arguments->output_path, "The model with the changed tensors; none: only the report");
  command->add_option("--factors", arguments->factors_path,
                      "Safetensors file for the factors, where activations are divided by other means");
  command->add_flag("--json", arguments->json, "Print the result, or the error, as JSON on stdout");
  command->callback([arguments, &chosen] {
    chosen.json = arguments->json;
    chosen.run = [arguments](Environment& environment) { return RunSmooth(*arguments, environment); };
  });
}

absl::StatusOr<ExitCode> RunSmooth(const SmoothArguments& arguments, Environment& environment) {
  QUANTD_RETURN_IF_ERROR(CheckSources(arguments));
  QUANTD_ASSIGN_OR_RETURN(const auto model, Open(arguments.model_path));
  std::vector<FloatRows> weights;
  for (const std::string& name : arguments.weights) {
    QUANTD_ASSIGN_OR_RETURN(weights.emplace_back(), OpenFloatRows(*model, name));
  }
  std::unique_ptr<SafetensorsReader> activations_file;
  std::optional<FloatRows> activations;
  std::vector<float> absmax;
  if (!arguments.activations_path.empty()) {
    QUANTD_ASSIGN_OR_RETURN(activations_file, Open(arguments.activations_path));
    QUANTD_ASSIGN_OR_RETURN(activations, OpenFloatRows(*activations_file, arguments.activation));
    absmax = ColumnAbsmax(activations->dtype, activations->bytes, activations->columns);
  }
  if (!arguments.calibration_path.empty()) {
    QUANTD_ASSIGN_OR_RETURN(absmax, CalibratedAbsmax(arguments));
  }

  Report report;
  QUANTD_ASSIGN_OR_RETURN(report.factors, FactorsFor(weights, absmax, arguments.options));
  Changed changed;
  for (const FloatRows& weight : weights) {
    std::vector<std::byte> bytes = Copied(weight.bytes);
    QUANTD_RETURN_IF_ERROR(MultiplyColumns(weight.dtype, bytes, report.factors));
    WeightReport& row = report.weights.emplace_back(WeightReport{weight.name, {}});
    if (activations.has_value()) {
      QUANTD_ASSIGN_OR_RETURN(row.effects, EffectsOf(*activations, weight, bytes, report.factors, arguments.tokens_max,
                                                     std::min(arguments.group_size, weight.columns)));
    }
    changed[weight.name] = std::move(bytes);
    if (environment.cancel.cancelled()) return absl::CancelledError("interrupted");
  }
  for (const std::string& name : arguments.previous) {
    QUANTD_ASSIGN_OR_RETURN(const FloatRows rows, OpenFloatRows(*model, name));
    if (changed.contains(name)) return Usage(absl::StrCat(name, " cannot be a weight and come before it"));
    QUANTD_ASSIGN_OR_RETURN(changed[name], DividedPrevious(rows, report.factors));
  }
  if (!arguments.output_path.empty()) {
    QUANTD_RETURN_IF_ERROR(FileProblem(WriteModel(*model, changed, arguments.output_path)));
  }
  if (!arguments.factors_path.empty()) {
    QUANTD_RETURN_IF_ERROR(FileProblem(WriteFactors(report.factors, arguments.factors_path)));
  }
  environment.out << (arguments.json ? ToJson(report).dump(2) + "\n" : ToText(report));
  return ExitCode::kOk;
}

}  // namespace quantd::cli
