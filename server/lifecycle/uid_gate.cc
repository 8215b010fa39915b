#include "server/lifecycle/uid_gate.h"

#include <grpcpp/security/auth_metadata_processor.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "server/session/principal.h"

namespace quantd::server {
namespace {

class NamePrincipal final : public grpc::AuthMetadataProcessor {
 public:
  explicit NamePrincipal(std::string principal) : principal_(std::move(principal)) {}

  bool IsBlocking() const override { return false; }

  grpc::Status Process(const InputMetadata&, grpc::AuthContext* context, OutputMetadata*, OutputMetadata*) override {
    // The context is the connection's, so calls that start at the same time share it.
    const absl::MutexLock lock(&mutex_);
    const std::string property(kPrincipalProperty);
    if (context->FindPropertyValues(property).empty()) context->AddProperty(property, principal_);
    return grpc::Status::OK;
  }

 private:
  const std::string principal_;
  absl::Mutex mutex_;
};

}  // namespace

absl::StatusOr<uint32_t> KernelPeerUid(int fd) {
  ucred credentials = {};
  socklen_t size = sizeof(credentials);
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
    return absl::InternalError(std::string("SO_PEERCRED: ") + std::strerror(errno));
  }
  return credentials.uid;
}

UidGate::UidGate(PeerUid peer_uid, Logger& logger) : peer_uid_(std::move(peer_uid)), logger_(logger) {}

UidGate::~UidGate() = default;

void UidGate::AddTo(grpc::ServerBuilder& builder, const std::set<uint32_t>& uids) {
  for (uint32_t uid : uids) {
    // Local credentials exchange nothing on the wire: plain clients connect as to any unix socket.
    const auto credentials = grpc::experimental::LocalServerCredentials(UDS);
    credentials->SetAuthMetadataProcessor(std::make_shared<NamePrincipal>("uid:" + std::to_string(uid)));
    acceptors_[uid] = builder.experimental().AddExternalConnectionAcceptor(
        grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD, credentials);
  }
}

void UidGate::Admit(int listener_fd, FileDescriptor connection) const {
  const absl::StatusOr<uint32_t> uid = peer_uid_(connection.get());
  if (!uid.ok()) {
    logger_.Write(LogLevel::kWarning, "unix connection refused: its user is unknown",
                  {{"error", std::string(uid.status().message())}});
    return;
  }
  const auto acceptor = acceptors_.find(*uid);
  if (acceptor == acceptors_.end()) {
    logger_.Write(LogLevel::kWarning, "unix connection refused: add the user to unix_listener.allowed_uids",
                  {{"uid", uint64_t{*uid}}});
    return;
  }
  grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters parameters;
  parameters.listener_fd = listener_fd;
  parameters.fd = connection.Release();
  acceptor->second->HandleNewConnection(&parameters);
}

}  // namespace quantd::server
