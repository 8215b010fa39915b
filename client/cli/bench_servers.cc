#include "client/cli/bench_servers.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/cli/echo_server.h"
#include "client/cli/embedded_server.h"
#include "kernels/base/status_macros.h"
#include "server/session/file_descriptor.h"
#include "server/worker/child_process.h"

namespace quantd::cli {
namespace {

// One message is one line: "quantd TARGET", "echo BYTES CHECKS", and "ADDRESS" or "! CODE MESSAGE" in return.
constexpr size_t kMessageBytesMax = 1024;

bool SendMessage(int socket, const std::string& message) {
  return ::send(socket, message.data(), std::min(message.size(), kMessageBytesMax), MSG_NOSIGNAL) >= 0;
}

// None when the other side is gone.
std::optional<std::string> ReceiveMessage(int socket) {
  char message[kMessageBytesMax];
  ssize_t bytes = 0;
  do {
    bytes = ::recv(socket, message, sizeof(message), 0);
  } while (bytes < 0 && errno == EINTR);
  if (bytes <= 0) return std::nullopt;
  return std::string(message, static_cast<size_t>(bytes));
}

std::string AsMessage(const absl::Status& status) {
  return absl::StrCat("! ", static_cast<int>(status.code()), " ", std::string(status.message()));
}

absl::StatusOr<std::string> AddressIn(const std::string& message) {
  if (message.empty() || message.front() != '!') return message;
  const std::vector<std::string> parts = absl::StrSplit(message, absl::MaxSplits(' ', 2));
  int code = 0;
  if (parts.size() != 3 || !absl::SimpleAtoi(parts[1], &code)) return absl::InternalError(message);
  const auto status_code = static_cast<absl::StatusCode>(code);
  if (status_code == absl::StatusCode::kInvalidArgument) return absl::InvalidArgumentError(parts[2]);
  return absl::InternalError(parts[2]);
}

class SpawnedServers final : public BenchServers {
 public:
  SpawnedServers(server::FileDescriptor socket, server::ChildProcess process)
      : process_(std::move(process)), socket_(std::move(socket)) {}

  absl::StatusOr<std::string> StartQuantd(const std::string& cpu_target) override {
    return Ask(absl::StrCat("quantd ", cpu_target));
  }
  absl::StatusOr<std::string> StartEcho(const EchoSettings& settings) override {
    return Ask(absl::StrCat("echo ", settings.answer_bytes, " ", settings.gathers_and_checks ? 1 : 0));
  }

 private:
  absl::StatusOr<std::string> Ask(const std::string& message) {
    const auto answer = SendMessage(socket_.get(), message) ? ReceiveMessage(socket_.get()) : std::nullopt;
    if (!answer.has_value()) return absl::InternalError("The process of the bench's servers is gone.");
    return AddressIn(*answer);
  }

  const server::ChildProcess process_;
  const server::FileDescriptor socket_;
};

// Everything that was started lives until the end of the process.
class Started {
 public:
  absl::StatusOr<std::string> Start(const std::string& message) {
    const std::vector<std::string> words = absl::StrSplit(message, ' ');
    EchoSettings echo;
    uint32_t checks = 0;
    if (words.size() == 2 && words[0] == "quantd") {
      QUANTD_ASSIGN_OR_RETURN(auto quantd, EmbeddedServer::Start(words[1], EmbeddedServer::Reach::kLoopback));
      return quantds_.emplace_back(std::move(quantd))->address();
    }
    if (words.size() == 3 && words[0] == "echo" && absl::SimpleAtoi(words[1], &echo.answer_bytes) &&
        absl::SimpleAtoi(words[2], &checks)) {
      echo.gathers_and_checks = checks != 0;
      QUANTD_ASSIGN_OR_RETURN(auto server, EchoServer::Start(echo));
      return echoes_.emplace_back(std::move(server))->address();
    }
    return absl::InternalError("no server of the bench: " + message);
  }

 private:
  std::vector<std::unique_ptr<EmbeddedServer>> quantds_;
  std::vector<std::unique_ptr<EchoServer>> echoes_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<BenchServers>> BenchServers::Start(const std::string& executable,
                                                                  std::vector<std::string> environment) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return absl::InternalError(absl::StrCat("no socket for the bench's servers: ", std::strerror(errno)));
  }
  server::FileDescriptor own(ends[0]);
  const server::FileDescriptor child(ends[1]);
  QUANTD_ASSIGN_OR_RETURN(
      server::ChildProcess process,
      server::ChildProcess::Spawn({executable, {kServeBenchArgument}, std::move(environment), child.get()}));
  return std::make_unique<SpawnedServers>(std::move(own), std::move(process));
}

absl::Status ServeBench(int socket) {
  int type = 0;
  socklen_t type_bytes = sizeof(type);
  if (::getsockopt(socket, SOL_SOCKET, SO_TYPE, &type, &type_bytes) != 0 || type != SOCK_SEQPACKET) {
    return absl::UnavailableError("quantctl bench starts this for itself. Run that.");
  }
  Started started;
  while (const auto message = ReceiveMessage(socket)) {
    const absl::StatusOr<std::string> address = started.Start(*message);
    if (!SendMessage(socket, address.ok() ? *address : AsMessage(address.status()))) break;
  }
  return absl::OkStatus();
}

}  // namespace quantd::cli
