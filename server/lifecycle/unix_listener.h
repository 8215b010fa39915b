// A listening unix socket that we accept on ourselves, because gRPC does not tell who connected.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "server/session/file_descriptor.h"

namespace quantd::server {

class UnixListener {
 public:
  // Takes each new connection: (the listening descriptor, the connection). Called from the accepting thread.
  using TakeConnection = std::function<void(int listener_fd, FileDescriptor connection)>;

  // Listens at `path` with a socket file of permissions `mode`; connections wait until Start. Removes a socket file
  // that nobody listens on. UNAVAILABLE if somebody does, FAILED_PRECONDITION if the path is something other than a
  // socket or cannot be made, each with what to do.
  static absl::StatusOr<std::unique_ptr<UnixListener>> Listen(const std::string& path, uint32_t mode);
  // Stop().
  ~UnixListener();
  UnixListener(const UnixListener&) = delete;
  UnixListener& operator=(const UnixListener&) = delete;

  // Accepts until Stop; once.
  void Start(TakeConnection take);
  // Stops accepting and removes the socket file, if it is still ours. Idempotent; not thread-safe.
  void Stop();

  const std::string& path() const { return path_; }

 private:
  UnixListener(std::string path, FileDescriptor socket, FileDescriptor wake);
  void Accept(const TakeConnection& take);

  const std::string path_;
  FileDescriptor socket_;
  const FileDescriptor wake_;  // readable once Stop was called
  dev_t device_ = 0;           // of the socket file that we made
  ino_t inode_ = 0;
  std::thread accepting_;
};

}  // namespace quantd::server
