#include "client/cli/run_command_line.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "client/cli/bench_command.h"
#include "client/cli/calibrate_command.h"
#include "client/cli/compare_command.h"
#include "client/cli/dequantize_command.h"
#include "client/cli/info_command.h"
#include "client/cli/quantize_command.h"
#include "client/cli/schemes_command.h"
#include "client/cli/smooth_command.h"
#include "kernels/base/error.h"
#include "server/conversion/printable.h"

namespace quantd::cli {
namespace {

// What an interruption makes of the status of the command that it ended.
absl::Status Interrupted(const absl::Status& status, Interruption interruption) {
  if (interruption == Interruption::kFileShrank) {
    return absl::AbortedError("a file became shorter while it was read; run again when its writer is done");
  }
  return interruption == Interruption::kSignal ? absl::CancelledError("interrupted; nothing was written") : status;
}

ExitCode CodeOf(const absl::Status& status, Interruption interruption) {
  if (interruption == Interruption::kFileShrank) return ExitCode::kFile;
  return interruption == Interruption::kSignal ? ExitCode::kInterrupted : ExitCodeOf(status);
}

// quantd gives a reason for everything that it refuses; what has none came from the transport.
bool OutOfReach(const absl::Status& status) {
  return status.code() == absl::StatusCode::kUnavailable && DetailsOf(status).reason.empty();
}

void PrintError(const absl::Status& status, ExitCode code, bool json, Environment& environment) {
  const ErrorDetails details = DetailsOf(status);
  if (!json) {
    environment.err << "quantctl: " << server::Escaped(std::string(status.message()));
    if (!details.reason.empty()) environment.err << " [" << server::Escaped(details.reason) << "]";
    environment.err << (OutOfReach(status)
                            ? "\nIs quantd running at --address? Without --address quantctl needs none.\n"
                            : "\n");
    return;
  }
  nlohmann::ordered_json metadata = nlohmann::ordered_json::object();
  for (const auto& [key, value] : details.metadata) metadata[key] = value;
  const nlohmann::ordered_json document{{"error",
                                         {{"code", absl::StatusCodeToString(status.code())},
                                          {"reason", details.reason},
                                          {"message", std::string(status.message())},
                                          {"metadata", std::move(metadata)}}},
                                        {"exit_code", static_cast<int>(code)}};
  environment.out << document.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << "\n";
}

}  // namespace

ExitCode RunCommandLine(int argc, const char* const* argv, Environment& environment) {
  CLI::App app("Quantize, dequantize, calibrate and compare tensors of safetensors files", "quantctl");
  app.footer(kExitCodeHelp);
  app.set_version_flag("--version", "quantctl " QUANTD_VERSION);
  app.require_subcommand(1);
  ChosenCommand chosen;
  AddQuantizeCommand(app, chosen);
  AddDequantizeCommand(app, chosen);
  AddCalibrateCommand(app, chosen);
  AddCompareCommand(app, chosen);
  AddSchemesCommand(app, chosen);
  AddInfoCommand(app, chosen);
  AddSmoothCommand(app, chosen);
  AddBenchCommand(app, chosen);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error, environment.out, environment.err) == 0 ? ExitCode::kOk : ExitCode::kUsage;
  }
  const absl::StatusOr<ExitCode> result = chosen.run(environment);
  if (result.ok()) return *result;
  const Interruption interruption = environment.interruption();
  const ExitCode code = CodeOf(result.status(), interruption);
  PrintError(Interrupted(result.status(), interruption), code, chosen.json, environment);
  return code;
}

}  // namespace quantd::cli
