// One response of a bulk method, taken apart.
#pragma once

#include <memory>
#include <optional>
#include <span>

#include "absl/status/status.h"
#include "client/cpp/accept_cache.h"
#include "client/cpp/tensor_call.h"
#include "grpcpp/support/byte_buffer.h"
#include "proto/codec/fields_memory.h"
#include "proto/codec/grpc_frame.h"

namespace quantd {

class ReceivedResponse {
 public:
  // `accepts` must outlive this object.
  explicit ReceivedResponse(AcceptCache& accepts) : accepts_(accepts), fields_(memory_.Make<ResponseFields>()) {}
  ReceivedResponse(const ReceivedResponse&) = delete;
  ReceivedResponse& operator=(const ReceivedResponse&) = delete;

  // INTERNAL: it cannot be read, so the server broke the protocol.
  absl::Status Parse(const grpc::ByteBuffer& message);

  // Of what Parse took. Valid as long as this object.
  const ResponseFields& fields() const { return fields_; }     // without the accept
  const KnownAccept* accept() const { return accept_.get(); }  // null if it has none
  std::span<const wire::ByteSpan> data() const { return frame_->data(); }

 private:
  AcceptCache& accepts_;
  wire::FieldsMemory memory_;
  ResponseFields& fields_;  // in memory_
  std::shared_ptr<const KnownAccept> accept_;
  std::optional<wire::ReceivedFrame> frame_;
};

}  // namespace quantd
