// quantd: serves until SIGTERM or SIGINT, then drains; a second signal cancels what is open.
//
// Standard output has one line for each address, once it can be connected to:
//   quantd 0.1.0 listening on 127.0.0.1:50051
//   quantd 0.1.0 listening on unix:/run/quantd/quantd.sock
//   quantd 0.1.0 admin listening on 127.0.0.1:50052
// The log goes to standard error. Exit codes: 0 done, 1 could not start, 2 bad configuration.
#include <unistd.h>

#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "server/config/command_line.h"
#include "server/config/version.h"
#include "server/lifecycle/application.h"
#include "server/lifecycle/library_log.h"
#include "server/lifecycle/lock_tuning.h"
#include "server/lifecycle/memory_tuning.h"
#include "server/lifecycle/shutdown_signals.h"

namespace quantd::server {
namespace {

enum ExitCode { kDone = 0, kCouldNotStart = 1, kBadConfiguration = 2 };

std::map<std::string, std::string> Environment() {
  std::map<std::string, std::string> variables;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const size_t equals = text.find('=');
    if (equals != std::string::npos) variables.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return variables;
}

void PrintAddresses(const Server& server) {
  for (const std::string& address : server.addresses()) {
    std::cout << "quantd " << kVersion << " listening on " << address << '\n';
  }
  if (!server.admin_address().empty()) {
    std::cout << "quantd " << kVersion << " admin listening on " << server.admin_address() << '\n';
  }
  std::cout << std::flush;
}

ExitCode Run(const std::vector<std::string>& arguments) {
  ShutdownSignals signals;
  TuneMalloc();
  SkipLockCycleChecks();
  const auto command_line = ParseCommandLine(arguments, Environment(), ReadConfigFile);
  if (!command_line.ok()) {
    std::cerr << "quantd: " << command_line.status().message() << '\n';
    return kBadConfiguration;
  }
  if (!command_line->print.empty()) {
    std::cout << command_line->print;
    return kDone;
  }
  const auto logger = MakeStderrLogger(command_line->config.log_level, command_line->config.log_format);
  const LibraryLogRedirect library_log(*logger);
  const auto application = Application::Start(command_line->config, *logger);
  if (!application.ok()) {
    logger->Write(LogLevel::kError, "could not start", {{"error", std::string(application.status().message())}});
    return absl::IsInvalidArgument(application.status()) ? kBadConfiguration : kCouldNotStart;
  }
  PrintAddresses((*application)->server());
  signals.WaitForFirst();
  (*application)->server().Drain(signals);
  return kDone;
}

}  // namespace
}  // namespace quantd::server

int main(int argc, char** argv) { return quantd::server::Run(std::vector<std::string>(argv + 1, argv + argc)); }
