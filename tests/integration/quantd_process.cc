#include "tests/integration/quantd_process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <stdexcept>

extern char** environ;

namespace quantd::testing {
namespace {

// "quantd 0.1.0 listening on 127.0.0.1:40123"
constexpr char kListening[] = " listening on ";

std::string ReadLine(int fd) {
  std::string line;
  char c = 0;
  while (read(fd, &c, 1) == 1 && c != '\n') line += c;
  return line;
}

}  // namespace

QuantdProcess::QuantdProcess(const std::vector<std::string>& arguments) {
  std::vector<std::string> words = {QUANTD_BINARY, "--listen", "127.0.0.1:0"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  std::array<int, 2> output{};
  if (pipe2(output.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe2 failed");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, output[1], STDOUT_FILENO);
  const int error = posix_spawn(&pid_, QUANTD_BINARY, &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(output[1]);
  const std::string line = error == 0 ? ReadLine(output[0]) : "";
  close(output[0]);
  const size_t found = line.find(kListening);
  if (found == std::string::npos) throw std::runtime_error("quantd did not start: " + line);
  address_ = line.substr(found + sizeof(kListening) - 1);
}

QuantdProcess::~QuantdProcess() {
  if (pid_ > 0) Stop(SIGKILL);
}

uint64_t QuantdProcess::PeakRssBytes() const { return StatusBytes("VmHWM:"); }

uint64_t QuantdProcess::RssBytes() const { return StatusBytes("VmRSS:"); }

uint64_t QuantdProcess::StatusBytes(const std::string& name) const {
  std::ifstream status("/proc/" + std::to_string(pid_) + "/status");
  std::string word;
  while (status >> word) {
    uint64_t kib = 0;
    if (word == name && status >> kib) return kib * 1024;
  }
  throw std::runtime_error("no " + name);
}

int QuantdProcess::Stop(int signal) {
  kill(pid_, signal);
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

}  // namespace quantd::testing
