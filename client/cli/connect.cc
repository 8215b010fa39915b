#include "client/cli/connect.h"

#include <utility>

#include "client/cli/embedded_server.h"
#include "client/cli/exit_code.h"
#include "kernels/base/status_macros.h"

namespace quantd::cli {
namespace {

struct EmbeddedClient {
  std::unique_ptr<EmbeddedServer> server;
  std::unique_ptr<Client> client;  // ends before its server
};

absl::StatusOr<std::shared_ptr<Client>> ConnectEmbedded(const std::string& cpu_target) {
  auto embedded = std::make_shared<EmbeddedClient>();
  absl::StatusOr<std::unique_ptr<EmbeddedServer>> server = EmbeddedServer::Start(cpu_target);
  if (absl::IsInvalidArgument(server.status())) return WithExitCode(server.status(), ExitCode::kUsage);
  QUANTD_ASSIGN_OR_RETURN(embedded->server, std::move(server));
  QUANTD_ASSIGN_OR_RETURN(embedded->client, Client::OverChannel(embedded->server->channel()));
  Client* const client = embedded->client.get();
  return std::shared_ptr<Client>(std::move(embedded), client);
}

}  // namespace

absl::StatusOr<std::shared_ptr<Client>> Connect(const ServerChoice& server) {
  if (server.address.empty()) return ConnectEmbedded(server.cpu_target);
  ClientOptions options;
  options.address = server.address;
  absl::StatusOr<std::unique_ptr<Client>> client = Client::Create(options);
  if (!client.ok()) return WithExitCode(client.status(), ExitCode::kUsage);
  return std::shared_ptr<Client>(*std::move(client));
}

}  // namespace quantd::cli
