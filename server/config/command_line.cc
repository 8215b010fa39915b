#include "server/config/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstddef>
#include <fstream>
#include <iterator>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/base/status_macros.h"
#include "server/config/config_file.h"
#include "server/config/names.h"
#include "server/config/version.h"

namespace quantd::server {
namespace {

constexpr size_t kConfigFileBytesMax = 1u << 20;

// One setting as it was given, and where: "--log-level" or "QUANTD_LOG_LEVEL".
struct Given {
  std::string source;
  std::string text;
};

absl::Status SetComputeThreads(const Given& given, ServerConfig& config) {
  const char* const end = given.text.data() + given.text.size();
  const auto [parsed_to, error] = std::from_chars(given.text.data(), end, config.compute_threads);
  if (!given.text.empty() && parsed_to == end && error == std::errc()) return absl::OkStatus();
  return absl::InvalidArgumentError(given.source + " is \"" + given.text + "\"; choose 0 to 1024");
}

absl::Status SetLogLevel(const Given& given, ServerConfig& config) {
  QUANTD_ASSIGN_OR_RETURN(config.log_level, ValueNamed(given.source, given.text, kLogLevelNames));
  return absl::OkStatus();
}

absl::Status SetLogFormat(const Given& given, ServerConfig& config) {
  QUANTD_ASSIGN_OR_RETURN(config.log_format, ValueNamed(given.source, given.text, kLogFormatNames));
  return absl::OkStatus();
}

absl::Status SetAdminListen(const Given& given, ServerConfig& config) {
  config.admin_listen = given.text;
  return absl::OkStatus();
}

absl::Status SetCpuTarget(const Given& given, ServerConfig& config) {
  config.cpu_target = given.text;
  return absl::OkStatus();
}

absl::Status SetSpoolDirectory(const Given& given, ServerConfig& config) {
  config.spool_directory = given.text;
  return absl::OkStatus();
}

absl::Status SetGpuMode(const Given& given, ServerConfig& config) {
  QUANTD_ASSIGN_OR_RETURN(config.gpu.mode, ValueNamed(given.source, given.text, kGpuModeNames));
  return absl::OkStatus();
}

absl::Status SetGpuWorker(const Given& given, ServerConfig& config) {
  config.gpu.worker_path = given.text;
  return absl::OkStatus();
}

struct Setting {
  const char* flag;
  const char* environment_name;
  const char* help;
  absl::Status (*apply)(const Given& given, ServerConfig& config);
};

// `listen` and the file are not here: one is a list, the other comes before all of these.
constexpr Setting kSettings[] = {
    {"--admin-listen", "QUANTD_ADMIN_LISTEN", "HOST:PORT for health, channelz and reflection (default: none)",
     SetAdminListen},
    {"--log-level", "QUANTD_LOG_LEVEL", "debug, info, warning or error (default: info)", SetLogLevel},
    {"--log-format", "QUANTD_LOG_FORMAT", "text or json (default: text)", SetLogFormat},
    {"--compute-threads", "QUANTD_COMPUTE_THREADS", "threads that compute; 0: one per processor (default: 0)",
     SetComputeThreads},
    {"--cpu-target", "QUANTD_CPU_TARGET",
     "scalar, avx2 or avx512, where the processor has it; auto: the fastest; the bytes are the same (default: auto)",
     SetCpuTarget},
    {"--spool-directory", "QUANTD_SPOOL_DIRECTORY", "folder for temporary files (default: /tmp)", SetSpoolDirectory},
    {"--gpu", "QUANTD_GPU", "auto, off or required (default: auto)", SetGpuMode},
    {"--gpu-worker", "QUANTD_GPU_WORKER", "program that computes on a GPU (default: quantd-gpu-worker beside quantd)",
     SetGpuWorker},
};
// What a worker gets of this process's environment, besides its own CUDA_VISIBLE_DEVICES.
constexpr const char* kVisibleDevicesEnvironment = "CUDA_VISIBLE_DEVICES";
constexpr std::string_view kWorkerPrefixes[] = {"CUDA_", "NVIDIA_"};
constexpr std::string_view kWorkerNames[] = {"HOME", "LD_LIBRARY_PATH", "PATH", "TMPDIR"};
constexpr const char* kListenEnvironment = "QUANTD_LISTEN";
constexpr const char* kConfigEnvironment = "QUANTD_CONFIG";

std::optional<std::string> Find(const std::map<std::string, std::string>& environment, const std::string& name) {
  const auto found = environment.find(name);
  // An empty variable is how a container unsets one.
  if (found == environment.end() || found->second.empty()) return std::nullopt;
  return found->second;
}

void TakeGpuEnvironment(const std::map<std::string, std::string>& environment, GpuConfig& gpu) {
  for (const auto& [name, value] : environment) {
    if (name == kVisibleDevicesEnvironment) {
      gpu.visible_devices = value;  // empty means none
      continue;
    }
    const auto begins = [&name = name](std::string_view prefix) { return name.starts_with(prefix); };
    const bool wanted = std::any_of(std::begin(kWorkerPrefixes), std::end(kWorkerPrefixes), begins) ||
                        std::find(std::begin(kWorkerNames), std::end(kWorkerNames), name) != std::end(kWorkerNames);
    if (wanted) gpu.worker_environment.push_back(absl::StrCat(name, "=", value));
  }
}

std::vector<std::string> SplitAtCommas(std::string_view text) {
  std::vector<std::string> parts;
  while (true) {
    const size_t comma = text.find(',');
    parts.emplace_back(text.substr(0, comma));
    if (comma == std::string_view::npos) return parts;
    text.remove_prefix(comma + 1);
  }
}

absl::Status ApplyFile(const std::string& path, const FileReader& read_file, ServerConfig& config) {
  QUANTD_ASSIGN_OR_RETURN(const std::string text, read_file(path));
  QUANTD_ASSIGN_OR_RETURN(config, ApplyToml(text, std::move(config)));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<CommandLine> ParseCommandLine(const std::vector<std::string>& arguments,
                                             const std::map<std::string, std::string>& environment,
                                             const FileReader& read_file) {
  CLI::App app("quantd: quantizes and dequantizes tensors over gRPC.", "quantd");
  app.footer(
      "Every flag that takes a value can be set in the environment: --log-level as QUANTD_LOG_LEVEL.\n"
      "A flag beats the environment, which beats the file, which beats the default.\n"
      "Exit codes: 0 done, 1 could not start, 2 bad configuration.");
  std::vector<std::string> listen;
  std::optional<std::string> config_path;
  std::optional<std::string> values[std::size(kSettings)];
  bool print_config = false;
  bool version = false;
  app.add_option("--listen", listen, "HOST:PORT, :PORT or unix:PATH; may be repeated (default: 127.0.0.1:50051)")
      ->allow_extra_args(false);
  app.add_option("--config", config_path, "TOML file with any setting");
  for (size_t i = 0; i < std::size(kSettings); ++i) {
    app.add_option(kSettings[i].flag, values[i], kSettings[i].help);
  }
  app.add_flag("--print-config", print_config, "print the configuration that results, as TOML, and exit");
  app.add_flag("--version", version, "print the version and exit");
  try {
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::CallForHelp&) {
    return CommandLine{.config = {}, .print = app.help()};
  } catch (const CLI::ParseError& error) {
    return absl::InvalidArgumentError(std::string(error.what()) + "; `quantd --help` lists the flags");
  }
  if (version) return CommandLine{.config = {}, .print = "quantd " + std::string(kVersion) + "\n"};

  CommandLine result;
  if (!config_path) config_path = Find(environment, kConfigEnvironment);
  if (config_path) QUANTD_RETURN_IF_ERROR(ApplyFile(*config_path, read_file, result.config));

  if (listen.empty()) {
    if (const auto text = Find(environment, kListenEnvironment)) listen = SplitAtCommas(*text);
  }
  if (!listen.empty()) result.config.listen = listen;
  for (size_t i = 0; i < std::size(kSettings); ++i) {
    const Setting& setting = kSettings[i];
    std::optional<Given> given;
    if (values[i]) {
      given = Given{setting.flag, *values[i]};
    } else if (const auto text = Find(environment, setting.environment_name)) {
      given = Given{setting.environment_name, *text};
    }
    if (given) QUANTD_RETURN_IF_ERROR(setting.apply(*given, result.config));
  }
  TakeGpuEnvironment(environment, result.config.gpu);
  QUANTD_RETURN_IF_ERROR(Validate(result.config));
  if (print_config) result.print = ToToml(result.config);
  return result;
}

absl::StatusOr<std::string> ReadConfigFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(kConfigFileBytesMax + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad() || file.gcount() == 0) {
    return absl::NotFoundError("configuration file \"" + path +
                               "\" cannot be read or is empty; check its path and permissions");
  }
  text.resize(static_cast<size_t>(file.gcount()));
  if (text.size() > kConfigFileBytesMax) {
    return absl::InvalidArgumentError("configuration file \"" + path + "\" is larger than 1 MiB");
  }
  return text;
}

}  // namespace quantd::server
