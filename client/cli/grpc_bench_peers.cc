#include "client/cli/grpc_bench_peers.h"

#include <utility>

#include "client/cli/connect.h"
#include "client/cli/echo_server.h"
#include "client/cli/embedded_server.h"
#include "client/cli/exit_code.h"
#include "kernels/base/status_macros.h"

namespace quantd::cli {
namespace {

class GrpcBenchPeers final : public BenchPeers {
 public:
  GrpcBenchPeers(std::string address, std::unique_ptr<EmbeddedServer> embedded)
      : embedded_(std::move(embedded)), address_(std::move(address)) {}

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
    return StartEchoServer(settings);
  }

 private:
  const std::unique_ptr<EmbeddedServer> embedded_;  // null: the server is somebody else's
  const std::string address_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<BenchPeers>> MakeBenchPeers(const ServerChoice& server) {
  if (!server.address.empty()) return std::make_unique<GrpcBenchPeers>(server.address, nullptr);
  auto embedded = EmbeddedServer::Start(server.cpu_target, EmbeddedServer::Reach::kLoopback);
  if (absl::IsInvalidArgument(embedded.status())) return WithExitCode(embedded.status(), ExitCode::kUsage);
  QUANTD_RETURN_IF_ERROR(embedded.status());
  std::string address = (*embedded)->address();
  return std::make_unique<GrpcBenchPeers>(std::move(address), *std::move(embedded));
}

}  // namespace quantd::cli
