#include "tests/support/cutting_proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

namespace quantd::testing {
namespace {

constexpr size_t kBufferBytes = 256 << 10;

sockaddr_in Loopback(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

int Connect(uint16_t port) {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = Loopback(port);
  if (connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) return socket;
  close(socket);
  return -1;
}

uint16_t PortOf(const std::string& address) {
  return static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
}

bool WriteAll(int socket, const char* data, size_t bytes) {
  while (bytes > 0) {
    const ssize_t written = send(socket, data, bytes, MSG_NOSIGNAL);
    if (written <= 0) return false;
    data += written;
    bytes -= static_cast<size_t>(written);
  }
  return true;
}

}  // namespace

struct CuttingProxy::Connection {
  int client = -1;
  int server = -1;
  std::optional<uint64_t> bytes_left;
  std::thread thread;
};

CuttingProxy::CuttingProxy(const std::string& upstream, Schedule schedule)
    : upstream_port_(PortOf(upstream)), schedule_(std::move(schedule)) {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof(address);
  bind(listener_, reinterpret_cast<const sockaddr*>(&address), size);
  listen(listener_, SOMAXCONN);
  getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
  address_ = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  acceptor_ = std::thread([this] { Accept(); });
}

CuttingProxy::~CuttingProxy() {
  ending_ = true;
  shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  close(listener_);
  {
    const std::lock_guard lock(mutex_);
    for (const Connection& connection : connections_) {
      if (connection.client < 0) continue;
      shutdown(connection.client, SHUT_RDWR);
      shutdown(connection.server, SHUT_RDWR);
    }
  }
  for (Connection& connection : connections_) connection.thread.join();
}

void CuttingProxy::SetUpstream(const std::string& upstream) { upstream_port_ = PortOf(upstream); }

void CuttingProxy::Accept() {
  while (!ending_) {
    const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (client < 0) continue;
    const std::optional<uint64_t> cut_after_bytes = schedule_();
    const int server = Connect(upstream_port_);
    if (server < 0) {
      close(client);
      continue;
    }
    const std::lock_guard lock(mutex_);
    Connection& connection = connections_.emplace_back();
    connection.client = client;
    connection.server = server;
    connection.bytes_left = cut_after_bytes;
    connection.thread = std::thread([this, &connection] { Pump(connection); });
  }
}

void CuttingProxy::Pump(Connection& connection) {
  std::vector<char> buffer(kBufferBytes);
  pollfd sockets[2] = {{connection.client, POLLIN, 0}, {connection.server, POLLIN, 0}};
  bool open = true;
  while (open && poll(sockets, 2, -1) > 0) {
    for (const size_t from : {0u, 1u}) {
      if (sockets[from].revents == 0 || !open) continue;
      const size_t bytes_max = std::min<uint64_t>(kBufferBytes, connection.bytes_left.value_or(kBufferBytes));
      const ssize_t bytes = recv(sockets[from].fd, buffer.data(), bytes_max, 0);
      open = bytes > 0 && WriteAll(sockets[1 - from].fd, buffer.data(), static_cast<size_t>(bytes));
      if (bytes <= 0) continue;
      if (from == 0) client_bytes_ += static_cast<uint64_t>(bytes);
      if (!connection.bytes_left.has_value()) continue;
      *connection.bytes_left -= static_cast<uint64_t>(bytes);
      if (*connection.bytes_left > 0) continue;
      ++cuts_;
      open = false;
    }
  }
  // Closed, not only shut down: a peer whose bytes nobody takes would wait for its own timeout, 20 s.
  const std::lock_guard lock(mutex_);
  close(connection.client);
  close(connection.server);
  connection.client = connection.server = -1;
}

}  // namespace quantd::testing
