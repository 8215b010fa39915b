#include "server/worker/message_socket.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

namespace quantd::server {
namespace {

absl::Status Gone(const char* doing) {
  return absl::UnavailableError(std::string(doing) + " the worker's socket: " + std::strerror(errno));
}

struct ControlBuffer {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> bytes{};
};

}  // namespace

absl::StatusOr<std::pair<MessageSocket, MessageSocket>> MessageSocket::MakePair() {
  int ends[2] = {};
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return Gone("making");
  return std::pair(MessageSocket(FileDescriptor(ends[0])), MessageSocket(FileDescriptor(ends[1])));
}

absl::Status MessageSocket::Send(WorkerMessage message) const { return Send(std::move(message), -1, 0); }

absl::Status MessageSocket::SendNow(WorkerMessage message, int attached) const {
  return Send(std::move(message), attached, MSG_DONTWAIT);
}

absl::Status MessageSocket::Send(WorkerMessage message, int attached, int flags) const {
  std::vector<std::byte> bytes = EncodeWorkerMessage(std::move(message));
  if (bytes.size() > kWorkerMessageBytesMax) return absl::InternalError("a message to the worker is too long");
  iovec part{bytes.data(), bytes.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  ControlBuffer control;
  if (attached >= 0) {
    header.msg_control = control.bytes.data();
    header.msg_controllen = control.bytes.size();
    cmsghdr* const rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(rights), &attached, sizeof(int));
  }
  while (sendmsg(get(), &header, MSG_NOSIGNAL | flags) < 0) {
    if (errno == EINTR) continue;
    if (errno == EAGAIN) return absl::ResourceExhaustedError("the worker does not read its messages");
    return Gone("writing to");
  }
  return absl::OkStatus();
}

absl::StatusOr<MessageSocket::Received> MessageSocket::Receive() const {
  auto received = Receive(0);
  if (!received.ok()) return received.status();
  return **std::move(received);
}

absl::StatusOr<std::optional<MessageSocket::Received>> MessageSocket::TryReceive() const {
  return Receive(MSG_DONTWAIT);
}

// Nothing only where `flags` have MSG_DONTWAIT.
absl::StatusOr<std::optional<MessageSocket::Received>> MessageSocket::Receive(int flags) const {
  std::array<std::byte, kWorkerMessageBytesMax> bytes;
  iovec part{bytes.data(), bytes.size()};
  ControlBuffer control;
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.bytes.data();
  header.msg_controllen = control.bytes.size();
  ssize_t count = -1;
  do {
    count = recvmsg(get(), &header, MSG_CMSG_CLOEXEC | flags);
  } while (count < 0 && errno == EINTR);
  if (count < 0 && errno == EAGAIN) return std::nullopt;
  if (count < 0) return Gone("reading from");
  if (count == 0) return absl::UnavailableError("the other end of the worker's socket is closed");
  FileDescriptor attached;
  const cmsghdr* const rights = CMSG_FIRSTHDR(&header);
  if (rights != nullptr && rights->cmsg_level == SOL_SOCKET && rights->cmsg_type == SCM_RIGHTS &&
      rights->cmsg_len == CMSG_LEN(sizeof(int))) {
    int descriptor = -1;
    std::memcpy(&descriptor, CMSG_DATA(rights), sizeof(int));
    attached = FileDescriptor(descriptor);
  }
  if ((header.msg_flags & MSG_TRUNC) != 0) return absl::InvalidArgumentError("a worker's message is too long");
  auto message = DecodeWorkerMessage(std::span(bytes).first(static_cast<size_t>(count)));
  if (!message.ok()) return message.status();
  return std::optional(Received{*std::move(message), std::move(attached)});
}

}  // namespace quantd::server
