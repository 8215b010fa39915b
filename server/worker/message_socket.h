// A socket that carries whole messages, and descriptors beside them.
#pragma once

#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/session/file_descriptor.h"
#include "server/worker/protocol.h"

namespace quantd::server {

class MessageSocket {
 public:
  struct Received {
    WorkerMessage message;
    FileDescriptor attached;  // closed: none came
  };

  // One end of a connected SOCK_SEQPACKET pair.
  explicit MessageSocket(FileDescriptor descriptor) : descriptor_(std::move(descriptor)) {}

  // Two connected ends, closed on exec. UNAVAILABLE if the process is out of descriptors.
  static absl::StatusOr<std::pair<MessageSocket, MessageSocket>> MakePair();

  // Waits while the peer's buffer is full. UNAVAILABLE if the peer is gone. Safe from any number of threads.
  absl::Status Send(WorkerMessage message) const;
  // Never waits: RESOURCE_EXHAUSTED if the peer does not read. A copy of `attached` goes along, if it is not negative.
  absl::Status SendNow(WorkerMessage message, int attached = -1) const;

  // The next message. UNAVAILABLE if the peer is gone, INVALID_ARGUMENT for what is no message. From one thread.
  absl::StatusOr<Received> Receive() const;
  // The same, but nothing where none has come yet.
  absl::StatusOr<std::optional<Received>> TryReceive() const;

  int get() const { return descriptor_.get(); }

 private:
  absl::Status Send(WorkerMessage message, int attached, int flags) const;
  absl::StatusOr<std::optional<Received>> Receive(int flags) const;

  FileDescriptor descriptor_;
};

}  // namespace quantd::server
