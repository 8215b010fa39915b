#include "client/cli/info_command.h"

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "client/cli/common_options.h"
#include "kernels/base/status_macros.h"
#include "server/conversion/printable.h"

namespace quantd::cli {
namespace {

nlohmann::ordered_json ToJson(const ServerInfo& info) {
  nlohmann::ordered_json gpus = nlohmann::ordered_json::array();
  for (const GpuInfo& gpu : info.gpus) {
    gpus.push_back({{"name", gpu.name},
                    {"target", gpu.target},
                    {"state", gpu.state},
                    {"batches", gpu.batches},
                    {"value_bytes", gpu.value_bytes},
                    {"losses", gpu.losses},
                    {"replays", gpu.replays}});
  }
  return {{"version", info.version},
          {"server_instance", info.server_instance},
          {"epoch", info.epoch},
          {"cpu_target", info.cpu_target},
          {"devices", info.devices},
          {"gpus", gpus},
          {"principal", info.principal},
          {"frame_data_bytes_max", info.frame_data_bytes_max},
          {"initial_window_bytes", info.initial_window_bytes},
          {"window_bytes", info.window_bytes},
          {"tensor_bytes_max", info.tensor_bytes_max},
          {"spool_bytes_per_stream_max", info.spool_bytes_per_stream_max},
          {"parked_bytes", info.parked_bytes},
          {"parked_bytes_max", info.parked_bytes_max},
          {"streams_max", info.streams_max},
          {"streams_per_principal_max", info.streams_per_principal_max},
          {"stall_ms_max", absl::ToInt64Milliseconds(info.stall_max)}};
}

std::string FormatText(const nlohmann::ordered_json& info) {
  std::string text;
  for (const auto& [key, value] : info.items()) {
    text += key + ": " + (value.is_string() ? server::Escaped(value.get<std::string>()) : value.dump()) + "\n";
  }
  return text;
}

}  // namespace

void AddInfoCommand(CLI::App& app, ChosenCommand& chosen) {
  auto arguments = std::make_shared<InfoArguments>();
  CLI::App* command = app.add_subcommand("info", "Show a server's release, devices and limits");
  AddServerOptions(*command, arguments->server);
  AddJsonFlag(*command, arguments->json);
  command->callback([arguments, &chosen] {
    chosen.json = arguments->json;
    chosen.run = [arguments](Environment& environment) { return RunInfo(*arguments, environment); };
  });
}

absl::StatusOr<ExitCode> RunInfo(const InfoArguments& arguments, Environment& environment) {
  QUANTD_ASSIGN_OR_RETURN(const std::shared_ptr<Client> client, environment.connect(arguments.server));
  QUANTD_ASSIGN_OR_RETURN(const ServerInfo info, client->GetServerInfo());
  const nlohmann::ordered_json json = ToJson(info);
  environment.out << (arguments.json ? json.dump(2) + "\n" : FormatText(json));
  return ExitCode::kOk;
}

}  // namespace quantd::cli
