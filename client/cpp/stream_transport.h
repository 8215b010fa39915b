// One bulk stream: frames out, frames in, without blocking. Tests put their own in its place.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "client/cpp/outgoing_frame.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/status.h"

namespace grpc {
class Channel;
}

namespace quantd {

// How a stream ended.
struct StreamEnd {
  grpc::Status status;
  std::optional<std::string> pushback_ms;  // trailing metadata grpc-retry-pushback-ms
};

// Used by one thread.
class StreamTransport {
 public:
  virtual ~StreamTransport() = default;

  // True if Send may be called: the queue of outgoing frames has room and the stream still takes frames.
  virtual bool CanSend() = 0;
  // Queues a frame. Its payload is copied, or, if it has an owner and is worth it, sent from where it lies; the owner
  // is held until the transport needs the payload no more, which can be after Finish. `half_close`: it is the last one.
  virtual void Send(OutgoingFrame frame, bool half_close) = 0;
  // No frame will follow, where the last one did not say so. Has no effect on a stream that takes no more.
  virtual void HalfClose() = 0;
  // The next message that has arrived, if one has.
  virtual std::optional<grpc::ByteBuffer> Receive() = 0;
  // True if no message is left and none will come.
  virtual bool ended() = 0;
  // Returns when a message is there, when the stream has ended, when `to_send` and CanSend(), or after at_most.
  virtual void Wait(bool to_send, absl::Duration at_most) = 0;
  // Ends the stream soon, whatever the server does.
  virtual void Cancel() = 0;
  // Waits until the stream has ended, which the server does; after `patience` it is cancelled. Call it once, last.
  virtual StreamEnd Finish(absl::Duration patience) = 0;
};

enum class BulkMethod : uint8_t { kQuantize, kDequantize, kCalibrate };

// Starts a stream on the channel. It ends by itself, with DEADLINE_EXCEEDED, at the deadline.
std::unique_ptr<StreamTransport> OpenStream(const std::shared_ptr<grpc::Channel>& channel, BulkMethod method,
                                            absl::Time deadline);

}  // namespace quantd
