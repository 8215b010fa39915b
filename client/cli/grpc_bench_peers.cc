#include "client/cli/grpc_bench_peers.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "client/cli/bench_servers.h"
#include "client/cli/connect.h"
#include "client/cli/echo_client.h"
#include "client/cli/exit_code.h"
#include "kernels/base/status_macros.h"

namespace quantd::cli {
namespace {

class GrpcBenchPeers final : public BenchPeers {
 public:
  GrpcBenchPeers(std::unique_ptr<BenchServers> servers, std::string address)
      : servers_(std::move(servers)), address_(std::move(address)) {}

  absl::StatusOr<std::unique_ptr<Client>> NewClient(uint32_t connections_max) override {
    ClientOptions options;
    options.address = address_;
    options.connections_max = connections_max;
    absl::StatusOr<std::unique_ptr<Client>> client = Client::Create(options);
    if (!client.ok()) return WithExitCode(client.status(), ExitCode::kUsage);
    return client;
  }
  absl::StatusOr<std::shared_ptr<Client>> Reference() override {
    return Connect({.address = "", .cpu_target = "scalar"});
  }
  absl::StatusOr<std::unique_ptr<EchoBaseline>> StartEcho(const EchoSettings& settings) override {
    QUANTD_ASSIGN_OR_RETURN(const std::string address, servers_->StartEcho(settings));
    return MakeEchoClient(address, settings);
  }

 private:
  const std::unique_ptr<BenchServers> servers_;
  const std::string address_;  // of the quantd that is measured
};

}  // namespace

absl::StatusOr<std::unique_ptr<BenchPeers>> MakeBenchPeers(const ServerChoice& server,
                                                           std::vector<std::string> environment) {
  std::error_code error;
  const std::filesystem::path executable = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return absl::InternalError("where this program lies cannot be read in /proc: " + error.message());
  QUANTD_ASSIGN_OR_RETURN(auto servers, BenchServers::Start(executable, std::move(environment)));
  std::string address = server.address;
  if (address.empty()) {
    auto started = servers->StartQuantd(server.cpu_target);
    if (absl::IsInvalidArgument(started.status())) return WithExitCode(started.status(), ExitCode::kUsage);
    QUANTD_RETURN_IF_ERROR(started.status());
    address = *std::move(started);
  }
  return std::make_unique<GrpcBenchPeers>(std::move(servers), std::move(address));
}

}  // namespace quantd::cli
