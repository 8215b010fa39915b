// A TCP proxy on the loopback interface that cuts connections: what a network does to a client at the worst moment.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

namespace quantd::testing {

class CuttingProxy {
 public:
  // For each connection: after how many bytes, both directions together, it is cut off, from the thread that accepts.
  // None: never. It may call SetUpstream for the connection that it is asked about.
  using Schedule = std::function<std::optional<uint64_t>()>;

  // `upstream` is "127.0.0.1:PORT".
  CuttingProxy(const std::string& upstream, Schedule schedule);
  // Cuts what is open.
  ~CuttingProxy();
  CuttingProxy(const CuttingProxy&) = delete;
  CuttingProxy& operator=(const CuttingProxy&) = delete;

  // Where the next connections go.
  void SetUpstream(const std::string& upstream);

  // Where it listens.
  const std::string& address() const { return address_; }
  uint64_t cuts() const { return cuts_.load(); }
  // From clients, whether or not the server got them.
  uint64_t client_bytes() const { return client_bytes_.load(); }

 private:
  struct Connection;

  void Accept();
  void Pump(Connection& connection);

  std::atomic<uint16_t> upstream_port_;
  const Schedule schedule_;
  int listener_ = -1;
  std::string address_;
  std::atomic<bool> ending_ = false;
  std::atomic<uint64_t> cuts_ = 0;
  std::atomic<uint64_t> client_bytes_ = 0;
  std::mutex mutex_;
  std::list<Connection> connections_;  // guarded by mutex_
  std::thread acceptor_;
};

}  // namespace quantd::testing
