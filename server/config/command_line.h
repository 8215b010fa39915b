// From flags, environment and file to one configuration: a flag beats the environment, which beats the file, which
// beats the default.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/config/server_config.h"

namespace quantd::server {

struct CommandLine {
  ServerConfig config;
  std::string print;  // not empty: print this and exit (--help, --version, --print-config)
};

// The contents of the file of that name, or why it cannot be read.
using FileReader = std::function<absl::StatusOr<std::string>(const std::string& path)>;

// `arguments` are without the program's name. Of `environment` the names QUANTD_* of the flags count: QUANTD_LISTEN
// (entries separated by commas), QUANTD_ADMIN_LISTEN, QUANTD_CONFIG, QUANTD_LOG_LEVEL, QUANTD_LOG_FORMAT,
// QUANTD_COMPUTE_THREADS, QUANTD_CPU_TARGET, QUANTD_SPOOL_DIRECTORY. INVALID_ARGUMENT says which setting is wrong and
// what is allowed.
absl::StatusOr<CommandLine> ParseCommandLine(const std::vector<std::string>& arguments,
                                             const std::map<std::string, std::string>& environment,
                                             const FileReader& read_file);

// At most 1 MiB of a regular file.
absl::StatusOr<std::string> ReadConfigFile(const std::string& path);

}  // namespace quantd::server
