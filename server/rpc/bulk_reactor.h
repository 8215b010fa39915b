// One bulk RPC: gRPC's callbacks on one side, a session on the other.
#pragma once

#include <memory>
#include <optional>

#include <string>

#include "absl/time/time.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "server/rpc/proto_convert.h"
#include "server/session/admission.h"
#include "server/session/stream_session.h"
#include "server/telemetry/rpc_log.h"

namespace quantd::server {

// The sessions that are open, for draining and for stall checks.
class SessionRegistry {
 public:
  virtual ~SessionRegistry() = default;
  virtual void Add(std::shared_ptr<StreamSession> session) = 0;
  virtual void Remove(const std::shared_ptr<StreamSession>& session) = 0;
};

// Deletes itself when the RPC is over, as gRPC's reactors do.
class BulkReactor final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>, public StreamIo {
 public:
  struct Context {
    const char* method;
    grpc::CallbackServerContext& rpc;
    const AcceptConstants& constants;
    const Clock& clock;
    RpcLog& log;
    SessionRegistry& registry;
  };

  BulkReactor(Context context, const SessionEnvironment& environment, Principal principal, Admission::Ticket ticket);

 private:
  // StreamIo
  void Read() override { StartRead(&request_); }
  void Write(ResponseFrame frame) override;
  void Finish(absl::Status status) override;
  void Abort() override { context_.rpc.TryCancel(); }

  // ServerBidiReactor
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override { session_->OnCancelled(); }
  void OnDone() override;

  const Context context_;
  const Principal principal_;
  std::optional<Admission::Ticket> ticket_;
  const std::string peer_;  // gRPC forgets it once the connection is gone
  const absl::Time started_at_;
  const std::shared_ptr<StreamSession> session_;
  grpc::ByteBuffer request_;
  grpc::ByteBuffer response_;
  absl::Status status_;
};

// An RPC that ends as soon as it begins, before any payload.
class RefusedReactor final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  explicit RefusedReactor(const absl::Status& status);

 private:
  void OnDone() override { delete this; }
};

}  // namespace quantd::server
