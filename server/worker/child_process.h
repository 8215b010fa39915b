// A child process with one owner.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "server/session/file_descriptor.h"

namespace quantd::server {

struct ChildCommand {
  std::string executable;  // path
  std::vector<std::string> arguments;
  std::vector<std::string> environment;  // "NAME=value", all of it
  int socket = -1;                       // the child has it as descriptor kChildSocket; the caller keeps its own
};

// Besides the three standard ones this is all that a child inherits.
inline constexpr int kChildSocket = 3;

class ChildProcess {
 public:
  // A descriptor that becomes readable when the process is gone; negative if the system has no such thing.
  using OpenPidfd = std::function<int(pid_t)>;
  static int KernelPidfd(pid_t pid);

  // Starts it by posix_spawn, in a process group of its own, with default signals. NOT_FOUND if it cannot be executed,
  // RESOURCE_EXHAUSTED if there are no processes or descriptors left.
  static absl::StatusOr<ChildProcess> Spawn(const ChildCommand& command, const OpenPidfd& open_pidfd = KernelPidfd);
  // Kills it and waits until it is gone.
  ~ChildProcess();
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&&) = delete;

  pid_t pid() const { return pid_; }
  // Becomes readable when the kernel has let go of the process: its memory is unmapped, its devices are closed.
  int gone_descriptor() const { return gone_.get(); }
  // By SIGKILL, which no state of a process but a broken driver's resists. Harmless on one that is gone.
  void Kill() const;
  // Waits until it is gone. How it ended, for people: "exit code 1", "signal 9". Once.
  std::string Reap();

 private:
  ChildProcess(pid_t pid, FileDescriptor gone) : pid_(pid), gone_(std::move(gone)) {}
  void WatchByThread(FileDescriptor write_end);

  pid_t pid_ = -1;  // negative: reaped
  FileDescriptor gone_;
  std::thread watcher_;  // where there is no pidfd
};

}  // namespace quantd::server
