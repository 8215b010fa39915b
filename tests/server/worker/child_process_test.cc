#include "server/worker/child_process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <csignal>

#include <utility>

namespace quantd::server {
namespace {

constexpr int kPatienceMs = 60'000;

bool IsGone(const ChildProcess& child, int timeout_ms) {
  pollfd event{child.gone_descriptor(), POLLIN, 0};
  return poll(&event, 1, timeout_ms) == 1;
}

// The second socket is the child's.
std::pair<FileDescriptor, FileDescriptor> SocketPair() {
  int ends[2] = {-1, -1};
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  return {FileDescriptor(ends[0]), FileDescriptor(ends[1])};
}

ChildCommand Shell(const std::string& script, int socket) {
  return {.executable = "/bin/sh", .arguments = {"-c", script}, .environment = {"GREETING=hello"}, .socket = socket};
}

std::string ReadAll(int descriptor) {
  std::string text;
  char buffer[256];
  for (ssize_t count; (count = read(descriptor, buffer, sizeof(buffer))) > 0;) text.append(buffer, count);
  return text;
}

class ChildProcessBy : public ::testing::TestWithParam<bool> {
 protected:
  absl::StatusOr<ChildProcess> Spawn(const ChildCommand& command) {
    if (GetParam()) return ChildProcess::Spawn(command);
    return ChildProcess::Spawn(command, [](pid_t) { return -1; });
  }
};
INSTANTIATE_TEST_SUITE_P(, ChildProcessBy, ::testing::Bool(),
                         [](const auto& with) { return with.param ? "Pidfd" : "Thread"; });

TEST_P(ChildProcessBy, SaysWhenItIsGoneAndHowItEnded) {
  auto [mine, theirs] = SocketPair();
  auto child = Spawn(Shell("read line <&3; exit 5", theirs.get()));
  ASSERT_TRUE(child.ok()) << child.status();
  EXPECT_FALSE(IsGone(*child, 0));
  ASSERT_EQ(write(mine.get(), "go\n", 3), 3);
  EXPECT_TRUE(IsGone(*child, kPatienceMs));
  EXPECT_EQ(child->Reap(), "exit code 5");
}

TEST_P(ChildProcessBy, IsKilledEvenWhenItIsStopped) {
  auto [mine, theirs] = SocketPair();
  auto child = Spawn(Shell("read line <&3", theirs.get()));
  ASSERT_TRUE(child.ok()) << child.status();
  ASSERT_EQ(kill(child->pid(), SIGSTOP), 0);
  child->Kill();
  EXPECT_TRUE(IsGone(*child, kPatienceMs));
  EXPECT_EQ(child->Reap(), "signal 9");
}

TEST_P(ChildProcessBy, DoesNotOutliveItsOwner) {
  auto [mine, theirs] = SocketPair();
  pid_t pid = -1;
  {
    auto child = Spawn(Shell("read line <&3", theirs.get()));
    ASSERT_TRUE(child.ok()) << child.status();
    pid = child->pid();
  }
  EXPECT_EQ(kill(pid, 0), -1);
}

TEST(ChildProcess, HasItsSocketAndNothingElse) {
  auto [mine, theirs] = SocketPair();
  const FileDescriptor inheritable(open("/dev/null", O_RDONLY));
  auto child = ChildProcess::Spawn(Shell("ls /proc/$$/fd | tr '\\n' ' ' >&3", theirs.get()));
  ASSERT_TRUE(child.ok()) << child.status();
  theirs = FileDescriptor();
  const std::string descriptors = ReadAll(mine.get());
  EXPECT_EQ(descriptors.substr(0, 8), "0 1 2 3 ");
  // What follows belongs to the shell's own pipe.
  EXPECT_LT(descriptors.size(), 16u) << descriptors;
}

TEST(ChildProcess, HasTheEnvironmentThatItIsGiven) {
  auto [mine, theirs] = SocketPair();
  auto child = ChildProcess::Spawn(Shell("echo \"$GREETING $HOME\" >&3", theirs.get()));
  ASSERT_TRUE(child.ok()) << child.status();
  theirs = FileDescriptor();
  EXPECT_EQ(ReadAll(mine.get()), "hello \n");
}

TEST(ChildProcess, HasDefaultSignals) {
  sigset_t blocked, before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &blocked, &before);
  auto [mine, theirs] = SocketPair();
  auto child = ChildProcess::Spawn(Shell("read line <&3", theirs.get()));
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ASSERT_TRUE(child.ok()) << child.status();
  kill(child->pid(), SIGTERM);
  EXPECT_TRUE(IsGone(*child, kPatienceMs));
  EXPECT_EQ(child->Reap(), "signal 15");
}

TEST(ChildProcess, IsNotFoundWhereThereIsNoProgram) {
  const auto child = ChildProcess::Spawn({.executable = "/nonexistent/worker", .socket = 0});
  EXPECT_EQ(child.status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace quantd::server
