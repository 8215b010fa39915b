#include "client/cli/schemes_command.h"

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/cli/common_options.h"
#include "kernels/base/status_macros.h"
#include "server/conversion/printable.h"

namespace quantd::cli {
namespace {

using server::Escaped;

std::string FormatText(const std::vector<SchemeDescription>& schemes) {
  std::string text;
  for (const SchemeDescription& scheme : schemes) {
    text += absl::StrFormat("%s  (%.3f bits/weight, revision %d)\n  %s\n", Escaped(scheme.scheme.preset),
                            scheme.bits_per_weight, scheme.scheme.format_revision, Escaped(scheme.summary));
    if (!scheme.byte_equal_to.empty()) text += absl::StrFormat("  byte-equal to %s\n", Escaped(scheme.byte_equal_to));
    if (!scheme.error_bound.empty()) text += absl::StrFormat("  error: %s\n", Escaped(scheme.error_bound));
    for (const std::string& constraint : scheme.constraints) {
      text += absl::StrFormat("  needs: %s\n", Escaped(constraint));
    }
    text += absl::StrFormat("  segments: %s\n", Escaped(absl::StrJoin(scheme.segments, ", ")));
    for (const OverrideInfo& info : scheme.overrides) {
      if (info.values.size() == 1) continue;  // no choice
      text += absl::StrFormat("  --set %s=%s  (default %s)\n", Escaped(info.name),
                              Escaped(absl::StrJoin(info.values, "|")), Escaped(info.default_value));
    }
    text += "\n";
  }
  return text;
}

std::string FormatJson(const std::vector<SchemeDescription>& schemes) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const SchemeDescription& scheme : schemes) {
    nlohmann::ordered_json overrides = nlohmann::ordered_json::array();
    for (const OverrideInfo& info : scheme.overrides) {
      overrides.push_back({{"name", info.name}, {"values", info.values}, {"default", info.default_value}});
    }
    list.push_back({{"preset", scheme.scheme.preset},
                    {"format_revision", scheme.scheme.format_revision},
                    {"summary", scheme.summary},
                    {"byte_equal_to", scheme.byte_equal_to},
                    {"bits_per_weight", scheme.bits_per_weight},
                    {"error_bound", scheme.error_bound},
                    {"constraints", scheme.constraints},
                    {"segments", scheme.segments},
                    {"overrides", std::move(overrides)}});
  }
  return nlohmann::ordered_json{{"schemes", std::move(list)}}.dump(2, ' ', false,
                                                                   nlohmann::ordered_json::error_handler_t::replace) +
         "\n";
}

}  // namespace

void AddSchemesCommand(CLI::App& app, ChosenCommand& chosen) {
  auto arguments = std::make_shared<SchemesArguments>();
  CLI::App* command = app.add_subcommand("schemes", "List the presets and what can be set in each");
  AddServerOptions(*command, arguments->server);
  AddJsonFlag(*command, arguments->json);
  command->callback([arguments, &chosen] {
    chosen.json = arguments->json;
    chosen.run = [arguments](Environment& environment) { return RunSchemes(*arguments, environment); };
  });
}

absl::StatusOr<ExitCode> RunSchemes(const SchemesArguments& arguments, Environment& environment) {
  QUANTD_ASSIGN_OR_RETURN(const std::shared_ptr<Client> client, environment.connect(arguments.server));
  QUANTD_ASSIGN_OR_RETURN(const std::vector<SchemeDescription> schemes, client->ListSchemes());
  environment.out << (arguments.json ? FormatJson(schemes) : FormatText(schemes));
  return ExitCode::kOk;
}

}  // namespace quantd::cli
