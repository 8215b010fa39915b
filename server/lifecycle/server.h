// The listeners, the health and the end of a server.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/config/server_config.h"
#include "server/lifecycle/device_health.h"
#include "server/lifecycle/drain_waiter.h"
#include "server/lifecycle/uid_gate.h"
#include "server/lifecycle/unix_listener.h"
#include "server/rpc/quantization_service.h"
#include "server/telemetry/logger.h"

namespace grpc {
class Channel;
class Server;
class ServerBuilder;
}  // namespace grpc

namespace quantd::server {

// The health service knows these names besides "" and "quantd.v1.QuantizationService", and those of GPUs.
inline constexpr const char* kReadiness = "readiness";  // NOT_SERVING during a drain, like the two
inline constexpr const char* kLiveness = "liveness";    // SERVING until the end

class Server {
 public:
  // Serves on every listener of the configuration, and in process; health says SERVING once this has returned. The
  // configuration must be valid. UNAVAILABLE, naming the address and what to do, if one cannot be listened on.
  // `service`, `logger` and `device_health` must outlive the result. `peer_uid` says who connects to a unix listener.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerConfig& config, QuantizationService& service,
                                                       Logger& logger, DeviceHealth& device_health,
                                                       PeerUid peer_uid = KernelPeerUid);
  // Cancels what is still open and waits until it is over.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // As bound, in the order of the configuration: port 0 is replaced by the real one.
  const std::vector<std::string>& addresses() const { return addresses_; }
  // Empty without an admin listener.
  const std::string& admin_address() const { return admin_address_; }

  // A channel to this server that needs no listener. Must not be used after the server's end.
  std::shared_ptr<grpc::Channel> InProcessChannel();

  // Ends the server politely: health turns NOT_SERVING; everything is served for `drain_delay` more; then the service
  // refuses new work, and open streams may finish their tensors for `drain_deadline`; shortly before its end they are
  // told from where on to send the rest elsewhere; what is open then, or when `waiter` is in a hurry, is cancelled.
  // Once, from one thread.
  void Drain(DrainWaiter& waiter);

 private:
  Server(const ServerConfig& config, QuantizationService& service, Logger& logger, DeviceHealth& device_health,
         PeerUid peer_uid);
  absl::Status StartMain(const ServerConfig& config);
  absl::Status StartAdmin(const ServerConfig& config);
  absl::Status ListenOnUnixPaths(const ServerConfig& config, grpc::ServerBuilder& builder);
  void AcceptOnUnixPaths();
  void SetHealth(bool ready);
  void SetHealth(const std::string& service, bool serving);
  enum class Waited : uint8_t { kAllEnded, kTooLong, kInAHurry };
  Waited WaitForStreams(DrainWaiter& waiter, absl::Duration most) const;
  void Shutdown(absl::Duration grace);

  const absl::Duration drain_delay_;
  const absl::Duration drain_deadline_;
  QuantizationService& service_;
  Logger& logger_;
  DeviceHealth& device_health_;
  UidGate gate_;
  std::vector<std::string> addresses_;
  std::string admin_address_;
  std::unique_ptr<grpc::Server> main_;
  std::unique_ptr<grpc::Server> admin_;
  std::vector<std::unique_ptr<UnixListener>> unix_listeners_;  // hand connections to main_
};

}  // namespace quantd::server
