#include "server/lifecycle/unix_listener.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "kernels/base/status_macros.h"
#include "server/config/listen_address.h"

namespace quantd::server {
namespace {

constexpr int kBacklogConnections = 128;
// How long to leave the backlog alone after accept failed, for example for want of descriptors.
constexpr int kAcceptBackOffMs = 100;

absl::Status Failed(const std::string& path, const std::string& problem) {
  return absl::FailedPreconditionError("cannot listen on unix:" + path + ": " + problem);
}

absl::Status FailedCall(const std::string& path, const char* call) {
  const std::string reason = std::strerror(errno);
  return Failed(path, std::string(call) + ": " + reason + "; check that the folder exists and is writable");
}

sockaddr_un AddressOf(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

absl::Status RemoveStaleSocket(const std::string& path, const sockaddr_un& address) {
  struct stat found = {};
  if (lstat(path.c_str(), &found) != 0) return errno == ENOENT ? absl::OkStatus() : FailedCall(path, "lstat");
  if (!S_ISSOCK(found.st_mode))
    return Failed(path, "there is a file that is not a socket; move it or choose another path");

  const FileDescriptor probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe.is_open()) return FailedCall(path, "socket");
  const bool refused =
      connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 && errno == ECONNREFUSED;
  if (!refused) {
    return absl::UnavailableError("cannot listen on unix:" + path +
                                  ": another server listens there; stop it or choose another path");
  }
  return unlink(path.c_str()) == 0 ? absl::OkStatus() : FailedCall(path, "unlink");
}

}  // namespace

UnixListener::UnixListener(std::string path, FileDescriptor socket, FileDescriptor wake)
    : path_(std::move(path)), socket_(std::move(socket)), wake_(std::move(wake)) {}

UnixListener::~UnixListener() { Stop(); }

absl::StatusOr<std::unique_ptr<UnixListener>> UnixListener::Listen(const std::string& path, uint32_t mode) {
  if (path.empty() || path.size() > kUnixPathBytesMax) {
    return Failed(path, "the path must have 1 to " + std::to_string(kUnixPathBytesMax) + " bytes");
  }
  const sockaddr_un address = AddressOf(path);
  QUANTD_RETURN_IF_ERROR(RemoveStaleSocket(path, address));

  FileDescriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  FileDescriptor wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!socket.is_open() || !wake.is_open()) return FailedCall(path, "socket");
  if (bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return FailedCall(path, "bind");
  }
  std::unique_ptr<UnixListener> listener(new UnixListener(path, std::move(socket), std::move(wake)));
  struct stat made = {};
  if (lstat(path.c_str(), &made) != 0) return FailedCall(path, "lstat");
  listener->device_ = made.st_dev;
  listener->inode_ = made.st_ino;
  // Nobody can connect before listen, so nobody profits from the permissions that the umask gave.
  if (chmod(path.c_str(), static_cast<mode_t>(mode)) != 0) return FailedCall(path, "chmod");
  if (listen(listener->socket_.get(), kBacklogConnections) != 0) return FailedCall(path, "listen");
  return listener;
}

void UnixListener::Start(TakeConnection take) {
  accepting_ = std::thread([this, take = std::move(take)] { Accept(take); });
}

void UnixListener::Accept(const TakeConnection& take) {
  pollfd ready[] = {{wake_.get(), POLLIN, 0}, {socket_.get(), POLLIN, 0}};
  while (true) {
    if (poll(ready, 2, /*timeout=*/-1) < 0) continue;
    if (ready[0].revents != 0) return;
    FileDescriptor connection(accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (connection.is_open()) {
      take(socket_.get(), std::move(connection));
    } else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
      poll(ready, 1, kAcceptBackOffMs);
    }
  }
}

void UnixListener::Stop() {
  if (!socket_.is_open()) return;
  if (accepting_.joinable()) {
    eventfd_write(wake_.get(), 1);
    accepting_.join();
  }
  socket_ = FileDescriptor();
  struct stat found = {};
  if (lstat(path_.c_str(), &found) == 0 && found.st_dev == device_ && found.st_ino == inode_) unlink(path_.c_str());
}

}  // namespace quantd::server
