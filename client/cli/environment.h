// What a command may touch of the world. Tests give their own.
#pragma once

#include <functional>
#include <istream>
#include <memory>
#include <ostream>
#include <string>

#include "absl/status/statusor.h"
#include "client/cli/bench_peers.h"
#include "client/cli/exit_code.h"
#include "client/cpp/client.h"
#include "kernels/base/clock.h"

namespace quantd::cli {

// Why running work was told to stop.
enum class Interruption { kNone, kSignal, kFileShrank };

// Which server a command uses.
struct ServerChoice {
  std::string address;     // empty: one in this process
  std::string cpu_target;  // of the one in this process; empty: what the process's environment says
};

struct Environment {
  std::ostream& out;     // results
  std::ostream& err;     // progress and errors
  bool err_is_terminal;  // a progress bar makes sense
  const Clock& clock;
  CancelToken& cancel;
  std::function<Interruption()> interruption;
  // A client of that server; one in this process lives as long as the client.
  std::function<absl::StatusOr<std::shared_ptr<Client>>(const ServerChoice&)> connect;
  // What `bench` measures that server with.
  std::function<absl::StatusOr<std::unique_ptr<BenchPeers>>(const ServerChoice&)> bench_peers;
  std::istream* in = nullptr;  // values that a command was told to read; null: there are none
};

// What the command line asks for.
struct ChosenCommand {
  std::function<absl::StatusOr<ExitCode>(Environment&)> run;
  bool json = false;
};

}  // namespace quantd::cli
