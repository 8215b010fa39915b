#include "client/cli/calibrate_command.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <istream>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/cli/calibration_gathering.h"
#include "client/cli/calibration_report.h"
#include "client/cli/drawn_histogram.h"
#include "client/cli/human.h"
#include "client/cli/png_histogram.h"
#include "client/cli/qcal_file.h"
#include "kernels/base/checked_math.h"
#include "kernels/base/error.h"
#include "kernels/base/status_macros.h"
#include "kernels/scheme/plan.h"
#include "server/calibration/range_words.h"
#include "server/calibration/session_config.h"
#include "server/conversion/printable.h"

namespace quantd::cli {
namespace {

using server::Quoted;

constexpr char kQcalSuffix[] = ".qcal";
constexpr char kPngSuffix[] = ".png";
constexpr size_t kTerminalBins = 32;
constexpr size_t kBarWidth = 50;
constexpr size_t kPlotBins = 128;

bool IsQcal(const std::string& path) { return absl::EndsWith(path, kQcalSuffix); }

bool WantsResult(const CalibrateArguments& arguments) {
  return arguments.session_id.empty() || !arguments.output_path.empty() || arguments.show ||
         !arguments.plot_path.empty();
}

// ---- Where it comes from ----

absl::Status CheckArguments(const CalibrateArguments& arguments) {
  const bool from_qcal =
      !arguments.inputs.empty() && std::all_of(arguments.inputs.begin(), arguments.inputs.end(), IsQcal);
  const bool mixed = !from_qcal && std::any_of(arguments.inputs.begin(), arguments.inputs.end(), IsQcal);
  const int sources =
      (arguments.inputs.empty() ? 0 : 1) + (arguments.merged.empty() ? 0 : 1) + (arguments.from_stdin ? 1 : 0);
  if (sources != 1 || mixed) {
    return UsageError(
        "give one source: safetensors files, .qcal files, --merge with .qcal files, or --stdin with --name, --dtype "
        "and --shape");
  }
  if (!arguments.session_id.empty() && arguments.contribution_id.empty()) {
    return UsageError("--session needs --contribution: a name of this process's part, so that it counts once");
  }
  if (arguments.session_id.empty() && (!arguments.contribution_id.empty() || arguments.expected_contributions > 0)) {
    return UsageError("--contribution and --expect belong to a --session that others contribute to as well");
  }
  const bool says_range = !arguments.range_method.empty() || !arguments.range_target.empty() ||
                          arguments.percentile.has_value() || arguments.asymmetric;
  if (says_range && (arguments.range_method.empty() || !arguments.show)) {
    return UsageError("--percentile, --target and --asymmetric belong to --range-method, and that to --show");
  }
  if (arguments.session_id.empty() && arguments.output_path.empty() && !arguments.show && arguments.plot_path.empty()) {
    return UsageError(
        "say what is to be done with it: --out FILE.qcal, --show, --plot FILE.svg (or .png) or --session ID");
  }
  return absl::OkStatus();
}

absl::StatusOr<GatheringSession> SessionOf(const CalibrateArguments& arguments) {
  GatheringSession session;
  QUANTD_ASSIGN_OR_RETURN(session.configuration, ParseSettings(arguments.settings));
  const auto config = server::ParseSessionConfig(session.configuration);
  if (!config.ok()) return WithExitCode(config.status(), ExitCode::kUsage);
  session.id = arguments.session_id;
  session.contribution_id = arguments.contribution_id.empty() ? "quantctl" : arguments.contribution_id;
  session.expected_contributions = arguments.expected_contributions;
  session.wants_result = WantsResult(arguments);
  return session;
}

absl::StatusOr<Calibration> MergeFiles(const std::vector<std::string>& paths) {
  QUANTD_ASSIGN_OR_RETURN(Calibration merged, ReadQcalFile(paths.front()));
  for (size_t i = 1; i < paths.size(); ++i) {
    QUANTD_ASSIGN_OR_RETURN(const Calibration next, ReadQcalFile(paths[i]));
    if (absl::Status status = Merge(merged, next); !status.ok()) {
      absl::Status named(status.code(), absl::StrCat(Quoted(paths[i]), ": ", std::string(status.message())));
      return WithExitCode(WithDetails(std::move(named), DetailsOf(status)), ExitCode::kFile);
    }
  }
  return merged;
}

absl::StatusOr<std::vector<uint64_t>> ParseShape(const std::string& text) {
  std::vector<uint64_t> shape;
  for (const absl::string_view extent : absl::StrSplit(text, 'x')) {
    if (!absl::SimpleAtoi(extent, &shape.emplace_back())) {
      return UsageError(absl::StrCat("--shape ", Quoted(text), " is no shape, as 4096x1024"));
    }
  }
  return shape;
}

// Exactly as many bytes as type and shape say.
absl::StatusOr<std::vector<std::byte>> ReadValues(std::istream* in, uint64_t bytes) {
  constexpr uint64_t kPartBytes = 16 << 20;
  if (in == nullptr) return absl::InternalError("there is no standard input");
  std::vector<std::byte> values;
  while (values.size() < bytes && *in) {
    const size_t old_bytes = values.size();
    values.resize(std::min<uint64_t>(bytes, old_bytes + kPartBytes));
    in->read(reinterpret_cast<char*>(values.data() + old_bytes),
             static_cast<std::streamsize>(values.size() - old_bytes));
    values.resize(old_bytes + static_cast<size_t>(in->gcount()));
  }
  const bool more = values.size() == bytes && in->peek() != std::istream::traits_type::eof();
  if (values.size() == bytes && !more) return values;
  return WithExitCode(
      absl::InvalidArgumentError(absl::StrCat("standard input has ", more ? "more than " : "only ", values.size(),
                                              " bytes, and --dtype and --shape make ", bytes)),
      ExitCode::kFile);
}

absl::StatusOr<Gathered> GatherStdin(const CalibrateArguments& arguments, const GatheringSession& session,
                                     Environment& environment) {
  const std::optional<DataType> dtype = DataTypeNamed(arguments.stdin_dtype);
  if (!dtype.has_value() || !InfoOf(*dtype).is_float) {
    return UsageError("--stdin needs --dtype float32, float16 or bfloat16");
  }
  if (arguments.stdin_name.empty()) return UsageError("--stdin needs --name, the tensor's name");
  QUANTD_ASSIGN_OR_RETURN(const std::vector<uint64_t> shape, ParseShape(arguments.stdin_shape));
  std::optional<uint64_t> bytes = SizeBytes(*dtype);
  for (const uint64_t extent : shape) {
    if (bytes.has_value()) bytes = CheckedMul(*bytes, extent);
  }
  if (!bytes.has_value() || *bytes > kTensorBytesMax) return UsageError("--shape makes more than 2^40 bytes");
  QUANTD_ASSIGN_OR_RETURN(const std::vector<std::byte> values, ReadValues(environment.in, *bytes));
  return GatherTensor({arguments.stdin_name, *dtype, shape, values}, session, arguments.call, environment);
}

absl::StatusOr<Gathered> Gather(const CalibrateArguments& arguments, Environment& environment) {
  const std::vector<std::string>& files = arguments.merged.empty() ? arguments.inputs : arguments.merged;
  if (!files.empty() && (!arguments.merged.empty() || IsQcal(files.front()))) {
    Gathered gathered;
    QUANTD_ASSIGN_OR_RETURN(gathered.result, MergeFiles(files));
    return gathered;
  }
  QUANTD_ASSIGN_OR_RETURN(const GatheringSession session, SessionOf(arguments));
  if (arguments.from_stdin) return GatherStdin(arguments, session, environment);
  return GatherFiles(files, arguments.selection, session, arguments.call, environment);
}

// ---- Where it goes ----

// The one that was named, or the only one.
absl::StatusOr<std::pair<std::string, const TensorStatistics*>> ShownTensor(const Calibration& calibration,
                                                                            const std::string& name) {
  const auto found = name.empty() ? calibration.tensors.begin() : calibration.tensors.find(name);
  if (found == calibration.tensors.end()) return UsageError(absl::StrCat("there is no tensor ", Quoted(name)));
  if (name.empty() && calibration.tensors.size() != 1) {
    return UsageError("there are several tensors; choose with --tensor which one is drawn");
  }
  return std::make_pair(found->first, &found->second);
}

absl::StatusOr<DrawnHistogram> Draw(const std::string& name, const TensorStatistics& statistics, size_t bins) {
  DrawnHistogram histogram = DrawHistogram(statistics, bins);
  if (!histogram.counts.empty()) return histogram;
  return UsageError(absl::StrCat("tensor ", Quoted(name),
                                 " has no distribution to draw; calibrate with grouping=tensor, collect=distribution"));
}

// Of each tensor by the method that was asked for.
absl::StatusOr<ShownRanges> RangesOf(const Calibration& calibration, const CalibrateArguments& arguments) {
  ShownRanges ranges;
  if (arguments.range_method.empty()) return ranges;
  const auto request = server::ParseRangeWords(
      {arguments.range_method, arguments.percentile, arguments.range_target, !arguments.asymmetric});
  if (!request.ok()) return WithExitCode(request.status(), ExitCode::kUsage);
  for (const auto& [name, statistics] : calibration.tensors) {
    auto found = FindRanges(statistics, *request);
    if (!found.ok()) return WithExitCode(found.status(), ExitCode::kUsage);
    ranges.emplace(name, *std::move(found));
  }
  return ranges;
}

absl::Status Show(const Calibration& calibration, const CalibrateArguments& arguments, Environment& environment) {
  QUANTD_ASSIGN_OR_RETURN(const ShownRanges ranges, RangesOf(calibration, arguments));
  if (arguments.json) {
    environment.out << FormatJson(calibration, ranges);
    return absl::OkStatus();
  }
  environment.out << FormatTable(calibration, ranges);
  if (arguments.shown_tensor.empty()) return absl::OkStatus();
  QUANTD_ASSIGN_OR_RETURN(const auto tensor, ShownTensor(calibration, arguments.shown_tensor));
  QUANTD_ASSIGN_OR_RETURN(const DrawnHistogram histogram, Draw(tensor.first, *tensor.second, kTerminalBins));
  environment.out << "\n"
                  << server::Printable(tensor.first) << ": values from, count, logarithm of the count\n"
                  << FormatBars(histogram, kBarWidth);
  return absl::OkStatus();
}

absl::Status Plot(const Calibration& calibration, const CalibrateArguments& arguments) {
  QUANTD_ASSIGN_OR_RETURN(const auto tensor, ShownTensor(calibration, arguments.shown_tensor));
  QUANTD_ASSIGN_OR_RETURN(const DrawnHistogram histogram, Draw(tensor.first, *tensor.second, kPlotBins));
  if (absl::EndsWith(arguments.plot_path, kPngSuffix)) {
    QUANTD_ASSIGN_OR_RETURN(const std::vector<std::byte> png, FormatPng(histogram));
    return WriteWholeFile(arguments.plot_path, png);
  }
  const std::string svg = FormatSvg(histogram, server::Printable(tensor.first));
  return WriteWholeFile(arguments.plot_path, std::as_bytes(std::span(svg)));
}

void AddSourceOptions(CLI::App& command, CalibrateArguments& arguments) {
  command.add_option("IN", arguments.inputs, "Safetensors files whose tensors are calibrated; or .qcal files");
  command.add_option("--merge", arguments.merged, "Merge .qcal files, without a server")->type_name("FILE.qcal...");
  command.add_flag("--stdin", arguments.from_stdin, "Calibrate one tensor whose plain values come from standard input");
  command.add_option("--name", arguments.stdin_name, "With --stdin: the tensor's name")->type_name("NAME");
  command.add_option("--dtype", arguments.stdin_dtype, "With --stdin: float32, float16 or bfloat16")->type_name("TYPE");
  command.add_option("--shape", arguments.stdin_shape, "With --stdin: as 4096x1024")->type_name("SHAPE");
  command
      .add_option("--set", arguments.settings,
                  "What is counted: grouping=tensor|channel|group, collect=range|distribution|importance, axis=N, "
                  "group_size=N; repeatable")
      ->allow_extra_args(false)
      ->type_name("KEY=VALUE");
  command
      .add_option("--include", arguments.selection.include,
                  "Only tensors in whose name this RE2 expression is found. Default: every float32, float16 and "
                  "bfloat16 tensor")
      ->type_name("REGEX");
  command.add_option("--min-rank", arguments.selection.rank_min, "Only tensors with at least so many dimensions")
      ->type_name("N");
}

void AddSessionOptions(CLI::App& command, CalibrateArguments& arguments) {
  command
      .add_option(
          "--session", arguments.session_id,
          "Contribute to this session of the server, which others may contribute to as well, and leave it "
          "there. With --out, --show or --plot it is read: sealed before, unless --expect says when it is whole")
      ->type_name("ID");
  command
      .add_option("--contribution", arguments.contribution_id,
                  "With --session: this part's name, as rank-3. A tensor counts once for each file and name")
      ->type_name("ID");
  command
      .add_option("--expect", arguments.expected_contributions,
                  "With --session: contributions of each tensor after which it can be read")
      ->type_name("N");
}

}  // namespace

void AddCalibrateCommand(CLI::App& app, ChosenCommand& chosen) {
  auto arguments = std::make_shared<CalibrateArguments>();
  CLI::App* command = app.add_subcommand("calibrate", "Gather, merge and show statistics of tensors");
  AddSourceOptions(*command, *arguments);
  AddSessionOptions(*command, *arguments);
  command->add_option("--out", arguments->output_path, "Write the statistics")->type_name("FILE.qcal");
  command->add_flag("--show", arguments->show, "Print a table of the tensors");
  command->add_option("--tensor", arguments->shown_tensor, "With --show or --plot: draw this tensor's histogram")
      ->type_name("NAME");
  command
      ->add_option("--range-method", arguments->range_method,
                   "With --show: also the range to quantize with, by minmax, percentile, mse or entropy")
      ->type_name("METHOD");
  command->add_option("--percentile", arguments->percentile, "With --range-method percentile. Default: 99.99")
      ->type_name("P");
  command
      ->add_option("--target", arguments->range_target,
                   "With --range-method mse or entropy: the element whose errors count. Default: int8")
      ->type_name("ELEMENT");
  command->add_flag("--asymmetric", arguments->asymmetric, "With --range-method: both ends are free");
  command->add_option("--plot", arguments->plot_path, "Draw a tensor's histogram into a file; a PNG has no words")
      ->type_name("FILE.svg|FILE.png");
  AddCallOptions(*command, arguments->call);
  AddJsonFlag(*command, arguments->json);
  command->callback([arguments, &chosen] {
    chosen.json = arguments->json;
    chosen.run = [arguments](Environment& environment) { return RunCalibrate(*arguments, environment); };
  });
}

absl::StatusOr<ExitCode> RunCalibrate(const CalibrateArguments& arguments, Environment& environment) {
  QUANTD_RETURN_IF_ERROR(CheckArguments(arguments));
  QUANTD_ASSIGN_OR_RETURN(const Gathered gathered, Gather(arguments, environment));
  if (gathered.result.has_value()) {
    if (!arguments.plot_path.empty()) QUANTD_RETURN_IF_ERROR(Plot(*gathered.result, arguments));
    if (!arguments.output_path.empty()) {
      QUANTD_RETURN_IF_ERROR(WriteWholeFile(arguments.output_path, ToQcal(*gathered.result)));
    }
    if (arguments.show || arguments.json) {
      QUANTD_RETURN_IF_ERROR(Show(*gathered.result, arguments, environment));
      return ExitCode::kOk;
    }
  }
  const size_t tensors =
      gathered.tensors > 0 || !gathered.result.has_value() ? gathered.tensors : gathered.result->tensors.size();
  environment.out << absl::StrCat(
      tensors, " tensors", gathered.bytes > 0 ? ", " + HumanBytes(gathered.bytes) : "",
      gathered.repeated > 0 ? absl::StrCat(" (", gathered.repeated, " had been counted before)") : "", "\n");
  return ExitCode::kOk;
}

}  // namespace quantd::cli
