// Lets known users of a unix socket in, and tells the server who each of them is.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>

#include "absl/status/statusor.h"
#include "server/session/file_descriptor.h"
#include "server/telemetry/logger.h"

namespace grpc {
class ServerBuilder;
namespace experimental {
class ExternalConnectionAcceptor;
}
}  // namespace grpc

namespace quantd::server {

// The user of the process at the other end of a connected unix socket.
using PeerUid = std::function<absl::StatusOr<uint32_t>(int fd)>;

// As the kernel noted it at connect (SO_PEERCRED).
absl::StatusOr<uint32_t> KernelPeerUid(int fd);

// One gRPC acceptor for each user, so that every connection carries its user's name in kPrincipalProperty: gRPC has no
// other way to attach something to a connection that it did not accept itself.
class UidGate {
 public:
  // `logger` must outlive this.
  UidGate(PeerUid peer_uid, Logger& logger);
  ~UidGate();

  // Before the server is built: these users will be let in. Takes effect when the builder's server starts.
  void AddTo(grpc::ServerBuilder& builder, const std::set<uint32_t>& uids);

  // Hands the connection to the server, or closes it with a log line if its user may not connect. Safe from any thread.
  void Admit(int listener_fd, FileDescriptor connection) const;

 private:
  const PeerUid peer_uid_;
  Logger& logger_;
  std::map<uint32_t, std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor>> acceptors_;
};

}  // namespace quantd::server
