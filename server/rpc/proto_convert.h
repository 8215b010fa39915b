// Between the wire's messages and the session's plain values.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "grpcpp/support/byte_buffer.h"
#include "quantd/v1/quantization_service.pb.h"
#include "server/session/frame.h"

namespace quantd::server {

// What every Accept says.
struct AcceptConstants {
  uint32_t frame_data_bytes_max = 0;
  std::string server_instance;
  uint64_t epoch = 0;
};

// A frame of any bulk method: all have the same fields. The frame's data stays in the buffer's slices, which the
// result keeps. INVALID_ARGUMENT with reason MALFORMED_FRAME or FRAME_TOO_LARGE. What is wrong with a header is in the
// header's own status: it fails one tensor only.
absl::StatusOr<RequestFrame> ToRequestFrame(const grpc::ByteBuffer& buffer);

// A response of any bulk method; what it makes of an accept is kept in it, so `constants` must not change. More than 64
// KiB of data go by reference and keep their slots until the transport is done; less is copied, so that a slow reader
// keeps no slot for it.
grpc::ByteBuffer ToByteBuffer(const ResponseFrame& frame, const AcceptConstants& constants);

v1::Scheme ToProto(const SchemeRequest& scheme);

}  // namespace quantd::server
