#include "client/cli/common_options.h"

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"
#include "client/cli/exit_code.h"
#include "server/conversion/printable.h"

namespace quantd::cli {

using server::Quoted;

void AddServerOptions(CLI::App& command, ServerChoice& server) {
  CLI::Option* const address =
      command
          .add_option("--address", server.address,
                      "Server to use: HOST:PORT or unix:PATH. Default: one inside this process")
          ->type_name("HOST:PORT");
  command
      .add_option("--cpu-target", server.cpu_target,
                  "Without --address: scalar, avx2 or avx512, where the processor has it, or auto, the fastest. The "
                  "bytes are the same. Default: the variable QUANTD_CPU_TARGET, else auto")
      ->excludes(address)
      ->type_name("TARGET");
}

void AddCallOptions(CLI::App& command, CallArguments& arguments) {
  AddServerOptions(command, arguments.server);
  command.add_option("--message-bytes", arguments.message_bytes, "Data bytes in one message. Default: 1048576")
      ->check(CLI::Range(uint32_t{1}, kMessageBytesMax))
      ->type_name("N");
  command.add_option("--timeout", arguments.timeout, "Time for the whole command, as 90s, 5m or 1h30m. Default: none")
      ->type_name("DURATION");
}

void AddJsonFlag(CLI::App& command, bool& json) {
  command.add_flag("--json", json, "Print the result, or the error, as JSON on stdout");
}

absl::StatusOr<std::map<std::string, std::string>> ParseSettings(const std::vector<std::string>& settings) {
  std::map<std::string, std::string> parsed;
  for (const std::string& setting : settings) {
    const size_t equals = setting.find('=');
    if (equals == std::string::npos || equals == 0) {
      return UsageError(absl::StrCat("--set ", Quoted(setting), " is not KEY=VALUE, as in --set block_size=128"));
    }
    if (!parsed.emplace(setting.substr(0, equals), setting.substr(equals + 1)).second) {
      return UsageError(absl::StrCat("--set ", Quoted(setting.substr(0, equals)), " is there twice"));
    }
  }
  return parsed;
}

absl::StatusOr<Deadline> Deadline::FromNow(const std::string& timeout, const Clock& clock) {
  if (timeout.empty()) return Deadline(absl::InfiniteFuture(), clock);
  absl::Duration duration;
  if (!absl::ParseDuration(timeout, &duration) || duration <= absl::ZeroDuration()) {
    return UsageError(absl::StrCat("--timeout ", Quoted(timeout), " is not a positive duration, as 90s, 5m or 1h30m"));
  }
  return Deadline(clock.Now() + duration, clock);
}

absl::StatusOr<absl::Duration> Deadline::Left() const {
  if (end_ == absl::InfiniteFuture()) return absl::InfiniteDuration();
  const absl::Duration left = end_ - clock_->Now();
  if (left <= absl::ZeroDuration()) {
    return WithExitCode(absl::DeadlineExceededError("--timeout is over; nothing was written"), ExitCode::kServer);
  }
  return left;
}

}  // namespace quantd::cli
