#include "server/worker/child_process.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <csignal>

#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "kernels/base/status_macros.h"

namespace quantd::server {
namespace {

std::vector<char*> Pointers(const std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  pointers.reserve(texts.size() + 1);
  for (const std::string& text : texts) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

// The child must not have this process's blocked signals and handlers, nor get the terminal's Ctrl-C: quantd drains.
class SpawnAttributes {
 public:
  SpawnAttributes() {
    posix_spawnattr_init(&attributes_);
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &all);
    posix_spawnattr_setpgroup(&attributes_, 0);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  }
  ~SpawnAttributes() { posix_spawnattr_destroy(&attributes_); }
  SpawnAttributes(const SpawnAttributes&) = delete;
  SpawnAttributes& operator=(const SpawnAttributes&) = delete;
  const posix_spawnattr_t* get() const { return &attributes_; }

 private:
  posix_spawnattr_t attributes_;
};

class FileActions {
 public:
  explicit FileActions(int socket) {
    posix_spawn_file_actions_init(&actions_);
    posix_spawn_file_actions_adddup2(&actions_, socket, kChildSocket);
    posix_spawn_file_actions_addclosefrom_np(&actions_, kChildSocket + 1);
  }
  ~FileActions() { posix_spawn_file_actions_destroy(&actions_); }
  FileActions(const FileActions&) = delete;
  FileActions& operator=(const FileActions&) = delete;
  const posix_spawn_file_actions_t* get() const { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_;
};

absl::StatusOr<pid_t> SpawnProcess(const ChildCommand& command) {
  std::vector<std::string> arguments = command.arguments;
  arguments.insert(arguments.begin(), command.executable);
  const SpawnAttributes attributes;
  const FileActions actions(command.socket);
  pid_t pid = -1;
  const int error = posix_spawn(&pid, command.executable.c_str(), actions.get(), attributes.get(),
                                Pointers(arguments).data(), Pointers(command.environment).data());
  if (error == 0) return pid;
  const std::string message = command.executable + " cannot be started: " + std::strerror(error);
  if (error == EAGAIN || error == ENOMEM || error == EMFILE) return absl::ResourceExhaustedError(message);
  return absl::NotFoundError(message);
}

}  // namespace

int ChildProcess::KernelPidfd(pid_t pid) { return static_cast<int>(syscall(SYS_pidfd_open, pid, 0)); }

absl::StatusOr<ChildProcess> ChildProcess::Spawn(const ChildCommand& command, const OpenPidfd& open_pidfd) {
  // Before the process: without the pipe there would be nobody to notice its end.
  int pipe_ends[2] = {};
  if (pipe2(pipe_ends, O_CLOEXEC) != 0) return absl::ResourceExhaustedError("there are no descriptors left");
  FileDescriptor read_end(pipe_ends[0]);
  FileDescriptor write_end(pipe_ends[1]);
  QUANTD_ASSIGN_OR_RETURN(const pid_t pid, SpawnProcess(command));
  if (FileDescriptor pidfd(open_pidfd(pid)); pidfd.is_open()) return ChildProcess(pid, std::move(pidfd));
  ChildProcess child(pid, std::move(read_end));
  child.WatchByThread(std::move(write_end));
  return child;
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), gone_(std::move(other.gone_)), watcher_(std::move(other.watcher_)) {}

ChildProcess::~ChildProcess() {
  if (pid_ < 0) return;
  Kill();
  Reap();
}

// Closing the only write end makes the read end readable. The process stays a zombie until Reap, so its id stays its
// own.
void ChildProcess::WatchByThread(FileDescriptor write_end) {
  watcher_ = std::thread([pid = pid_, end = std::make_shared<FileDescriptor>(std::move(write_end))] {
    siginfo_t info;
    while (waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT) != 0 && errno == EINTR) {
    }
  });
}

void ChildProcess::Kill() const {
  if (pid_ > 0) kill(pid_, SIGKILL);
}

std::string ChildProcess::Reap() {
  int status = 0;
  if (watcher_.joinable()) watcher_.join();
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  return WIFSIGNALED(status) ? "signal " + std::to_string(WTERMSIG(status))
                             : "exit code " + std::to_string(WEXITSTATUS(status));
}

}  // namespace quantd::server
