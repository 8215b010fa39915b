#include "client/cli/bench_command.h"

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/exit_code.h"
#include "client/cli/table.h"
#include "kernels/base/status_macros.h"

namespace quantd::cli {
namespace {

constexpr uint64_t kTensorMibMax = 64 << 10;
constexpr uint64_t kSmallBytesMax = 256 << 10;  // what goes before the server has accepted
constexpr uint32_t kConnectionsMax = 64;
constexpr uint32_t kCountMax = 1'000'000;
constexpr uint32_t kRoundsMax = 1000;

std::string Fixed(double value) { return absl::StrFormat("%.2f", value); }
std::string Microseconds(absl::Duration time) { return absl::StrFormat("%.0f", absl::ToDoubleMicroseconds(time)); }
double Ratio(double part, double whole) { return whole == 0 ? 0 : part / whole; }
const char* NameOf(Direction direction) { return direction == Direction::kQuantize ? "quantize" : "dequantize"; }

nlohmann::ordered_json ToJson(const BenchReport& report) {
  nlohmann::ordered_json bulk = nlohmann::ordered_json::array();
  for (const BulkRow& row : report.bulk) {
    bulk.push_back({{"direction", NameOf(row.direction)},
                    {"connections", row.connections},
                    {"values_gb_per_s", row.server},
                    {"raw_echo_gb_per_s", row.raw_echo},
                    {"checking_echo_gb_per_s", row.checking_echo}});
  }
  const auto latency = [](const LatencyRow& row) {
    return nlohmann::ordered_json{{"p50_us", absl::ToDoubleMicroseconds(row.p50)},
                                  {"p99_us", absl::ToDoubleMicroseconds(row.p99)}};
  };
  return {{"bulk", std::move(bulk)},
          {"small_tensor_latency", latency(report.tensor_latency)},
          {"echo_latency", latency(report.echo_latency)},
          {"small_tensors_per_s", report.pipelined.server},
          {"echo_messages_per_s", report.pipelined.raw_echo}};
}

std::string ToText(const BenchReport& report) {
  Table bulk({{"values, GB/s", Table::Align::kLeft},
              {"connections"},
              {"quantd"},
              {"raw echo"},
              {"share"},
              {"echo with copy and CRC32C"},
              {"share"}});
  for (const BulkRow& row : report.bulk) {
    bulk.AddRow({NameOf(row.direction), absl::StrCat(row.connections), Fixed(row.server), Fixed(row.raw_echo),
                 Fixed(Ratio(row.server, row.raw_echo)), Fixed(row.checking_echo),
                 Fixed(Ratio(row.server, row.checking_echo))});
  }
  Table latency({{"one at a time, microseconds", Table::Align::kLeft}, {"p50"}, {"p99"}});
  for (const LatencyRow& row : {report.tensor_latency, report.echo_latency}) {
    latency.AddRow({row.what, Microseconds(row.p50), Microseconds(row.p99)});
  }
  latency.AddRow(
      {"ratio",
       Fixed(Ratio(absl::ToDoubleSeconds(report.tensor_latency.p50), absl::ToDoubleSeconds(report.echo_latency.p50))),
       Fixed(Ratio(absl::ToDoubleSeconds(report.tensor_latency.p99), absl::ToDoubleSeconds(report.echo_latency.p99)))});
  Table rate({{"pipelined on one stream, a second", Table::Align::kLeft}, {""}});
  rate.AddRow({"tensors", absl::StrFormat("%.0f", report.pipelined.server)});
  rate.AddRow({"echo messages", absl::StrFormat("%.0f", report.pipelined.raw_echo)});
  rate.AddRow({"share", Fixed(Ratio(report.pipelined.server, report.pipelined.raw_echo))});
  return absl::StrCat(bulk.ToString(), "\n", latency.ToString(), "\n", rate.ToString());
}

}  // namespace

void AddBenchCommand(CLI::App& app, ChosenCommand& chosen) {
  auto arguments = std::make_shared<BenchArguments>();
  BenchSettings& bench = arguments->bench;
  CLI::App* command = app.add_subcommand(
      "bench", "Measure a server beside echoes of the same messages on this machine, and check what it computes");
  AddServerOptions(*command, arguments->server);
  AddJsonFlag(*command, arguments->json);
  command->add_option("--scheme", arguments->preset, "Preset, see quantctl schemes")->capture_default_str();
  command->add_option("--set", arguments->settings, "Override KEY=VALUE of the preset; repeatable");
  command->add_option("--dtype", arguments->dtype, "Type of the values")
      ->check(CLI::IsMember({"float32", "float16", "bfloat16"}))
      ->capture_default_str();
  command->add_option("--tensor-mib", arguments->tensor_mib, "Values of each connection's tensor, MiB")
      ->check(CLI::Range(uint64_t{1}, kTensorMibMax))
      ->capture_default_str();
  command->add_option("--connections", bench.connections, "Connections at once; several: one after another")
      ->delimiter(',')
      ->check(CLI::Range(1u, kConnectionsMax))
      ->capture_default_str();
  command->add_option("--message-size", bench.message_bytes, "Data of one message, bytes")
      ->check(CLI::Range(1024u, kMessageBytesMax))
      ->capture_default_str();
  command
      ->add_option("--lend", arguments->lending,
                   "Whose large tensors are sent from where they lie and not copied first: nobody's, as in calls "
                   "without an owner; quantd's, as quantctl sends its files; or also the echo's")
      ->check(CLI::IsMember({"none", "quantd", "both"}))
      ->capture_default_str();
  command->add_option("--rounds", bench.rounds, "Rounds, of which the median counts")
      ->check(CLI::Range(1u, kRoundsMax))
      ->capture_default_str();
  command->add_option("--small-bytes", bench.small_bytes, "Values of a small tensor, bytes")
      ->check(CLI::Range(uint64_t{1}, kSmallBytesMax))
      ->capture_default_str();
  command->add_option("--small-calls", bench.small_calls, "Small tensors that are sent one at a time")
      ->check(CLI::Range(1u, kCountMax))
      ->capture_default_str();
  command->add_option("--small-tensors", bench.small_tensors, "Small tensors that are pipelined")
      ->check(CLI::Range(1u, kCountMax))
      ->capture_default_str();
  command->callback([arguments, &chosen] {
    chosen.json = arguments->json;
    chosen.run = [arguments](Environment& environment) { return RunBenchCommand(*arguments, environment); };
  });
}

absl::StatusOr<ExitCode> RunBenchCommand(const BenchArguments& arguments, Environment& environment) {
  BenchSettings settings = arguments.bench;
  settings.scheme.preset = arguments.preset;
  QUANTD_ASSIGN_OR_RETURN(settings.scheme.overrides, ParseSettings(arguments.settings));
  settings.dtype = arguments.dtype == "float16"    ? DataType::kFloat16
                   : arguments.dtype == "bfloat16" ? DataType::kBFloat16
                                                   : DataType::kFloat32;
  settings.lending = arguments.lending == "both"     ? Lending::kBoth
                     : arguments.lending == "quantd" ? Lending::kQuantd
                                                     : Lending::kNone;
  settings.tensor_bytes = arguments.tensor_mib << 20;
  QUANTD_ASSIGN_OR_RETURN(const std::unique_ptr<BenchPeers> peers, environment.bench_peers(arguments.server));
  const auto announce = [&](const std::string& name) { environment.err << "measuring " << name << "\n" << std::flush; };
  QUANTD_ASSIGN_OR_RETURN(const BenchReport report,
                          RunBench(settings, *peers, environment.clock, environment.cancel, announce));
  environment.out << (arguments.json ? ToJson(report).dump(2) + "\n" : ToText(report));
  return ExitCode::kOk;
}

}  // namespace quantd::cli
