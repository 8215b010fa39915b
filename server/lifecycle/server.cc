#include "server/lifecycle/server.h"

#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <utility>

#include "kernels/base/status_macros.h"
#include "server/config/listen_address.h"
#include "server/lifecycle/builder_plugins.h"

namespace quantd::server {
namespace {

constexpr const char* kServiceName = "quantd.v1.QuantizationService";

// gRPC's default, said aloud: stock clients and servers need no settings.
constexpr int kMessageBytesMax = 4 << 20;
// Calls that are no bulk streams, on one connection.
constexpr int kUnaryCallsMax = 64;
constexpr int kKeepaliveIntervalMs = 60'000;
constexpr int kKeepaliveTimeoutMs = 20'000;
// Clients may ping this often, also without a call.
constexpr int kPingIntervalMinMs = 10'000;
constexpr absl::Duration kStreamPoll = absl::Milliseconds(20);
// For clients to take what tells them where to go on: of the drain's deadline, and at most a quarter of it.
constexpr absl::Duration kHandBackMax = absl::Seconds(1);
// For the last status messages, and for calls that are no bulk streams.
constexpr absl::Duration kShutdownGrace = absl::Milliseconds(250);

struct TcpListener {
  std::string host;
  int port = 0;  // gRPC writes the bound port here

  std::string address() const { return host + ":" + std::to_string(port); }
};

void SetDefaults(grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(kMessageBytesMax);
  // A second server on the same port must fail, not share it.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveIntervalMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kPingIntervalMinMs);
  // A small compressed message can be a huge one; and compressed data cannot be gathered from the wire.
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_DEFLATE, false);
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_GZIP, false);
}

absl::Status CannotListen(const std::string& address) {
  return absl::UnavailableError("cannot listen on " + address +
                                ": another process may have the port, or this machine may not have the address; "
                                "choose another one, or port 0 for any that is free");
}

}  // namespace

Server::Server(const ServerConfig& config, QuantizationService& service, Logger& logger, DeviceHealth& device_health,
               PeerUid peer_uid)
    : drain_delay_(config.drain_delay),
      drain_deadline_(config.drain_deadline),
      service_(service),
      logger_(logger),
      device_health_(device_health),
      gate_(std::move(peer_uid), logger) {}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerConfig& config, QuantizationService& service,
                                                      Logger& logger, DeviceHealth& device_health, PeerUid peer_uid) {
  EnableHealth();
  if (!config.admin_listen.empty()) EnableChannelz();
  std::unique_ptr<Server> server(new Server(config, service, logger, device_health, std::move(peer_uid)));
  QUANTD_RETURN_IF_ERROR(server->StartMain(config));
  QUANTD_RETURN_IF_ERROR(server->StartAdmin(config));
  server->SetHealth(/*ready=*/true);
  device_health.Listen(
      [&health = *server](const std::string& device, bool serving) { health.SetHealth(device, serving); });
  server->AcceptOnUnixPaths();
  return server;
}

absl::Status Server::StartMain(const ServerConfig& config) {
  grpc::ServerBuilder builder;
  SetDefaults(builder);
  SetOwnServices(builder, {.reflection = config.reflection, .channelz = false});
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS,
                             static_cast<int>(config.limits.streams_max) + kUnaryCallsMax);
  grpc::ResourceQuota quota("quantd");
  quota.Resize(config.transport_bytes_max);
  builder.SetResourceQuota(quota);
  builder.RegisterService(service_.service());

  std::vector<TcpListener> tcp_listeners;
  tcp_listeners.reserve(config.listen.size());  // gRPC keeps pointers to the ports
  for (const std::string& text : config.listen) {
    QUANTD_ASSIGN_OR_RETURN(const ListenAddress address, ParseListenAddress("listen", text));
    if (address.is_unix()) continue;
    TcpListener& listener = tcp_listeners.emplace_back(TcpListener{.host = address.host});
    builder.AddListeningPort(address.host + ":" + std::to_string(address.port), grpc::InsecureServerCredentials(),
                             &listener.port);
  }
  QUANTD_RETURN_IF_ERROR(ListenOnUnixPaths(config, builder));

  main_ = builder.BuildAndStart();
  auto tcp_listener = tcp_listeners.begin();
  for (const std::string& text : config.listen) {
    QUANTD_ASSIGN_OR_RETURN(const ListenAddress address, ParseListenAddress("listen", text));
    if (address.is_unix()) {
      addresses_.push_back(text);
      continue;
    }
    if (tcp_listener->port == 0) return CannotListen(text);
    addresses_.push_back((tcp_listener++)->address());
  }
  if (main_ == nullptr) return absl::InternalError("gRPC did not start the server; its log lines say why");
  return absl::OkStatus();
}

absl::Status Server::ListenOnUnixPaths(const ServerConfig& config, grpc::ServerBuilder& builder) {
  for (const std::string& text : config.listen) {
    QUANTD_ASSIGN_OR_RETURN(const ListenAddress address, ParseListenAddress("listen", text));
    if (!address.is_unix()) continue;
    QUANTD_ASSIGN_OR_RETURN(auto listener, UnixListener::Listen(address.path, UnixMode(config)));
    unix_listeners_.push_back(std::move(listener));
  }
  if (unix_listeners_.empty()) return absl::OkStatus();
  std::set<uint32_t> uids(config.unix_allowed_uids.begin(), config.unix_allowed_uids.end());
  uids.insert({0, geteuid()});
  gate_.AddTo(builder, uids);
  return absl::OkStatus();
}

absl::Status Server::StartAdmin(const ServerConfig& config) {
  if (config.admin_listen.empty()) return absl::OkStatus();
  QUANTD_ASSIGN_OR_RETURN(const ListenAddress address, ParseListenAddress("admin_listen", config.admin_listen));
  TcpListener listener{.host = address.host};
  grpc::ServerBuilder builder;
  SetDefaults(builder);
  SetOwnServices(builder, {.reflection = config.reflection, .channelz = true});
  builder.AddListeningPort(address.host + ":" + std::to_string(address.port), grpc::InsecureServerCredentials(),
                           &listener.port);
  admin_ = builder.BuildAndStart();
  if (admin_ == nullptr || listener.port == 0) return CannotListen(config.admin_listen);
  admin_address_ = listener.address();
  return absl::OkStatus();
}

void Server::AcceptOnUnixPaths() {
  for (const auto& listener : unix_listeners_) {
    listener->Start(
        [this](int listener_fd, FileDescriptor connection) { gate_.Admit(listener_fd, std::move(connection)); });
  }
}

std::shared_ptr<grpc::Channel> Server::InProcessChannel() { return main_->InProcessChannel(grpc::ChannelArguments()); }

void Server::SetHealth(bool ready) {
  SetHealth(kLiveness, true);
  for (const char* name : {"", kServiceName, kReadiness}) SetHealth(name, ready);
}

void Server::SetHealth(const std::string& service, bool serving) {
  for (const grpc::Server* server : {main_.get(), admin_.get()}) {
    if (server != nullptr) server->GetHealthCheckService()->SetServingStatus(service, serving);
  }
}

void Server::Drain(DrainWaiter& waiter) {
  logger_.Write(LogLevel::kInfo, "draining", {{"open_streams", uint64_t{service_.open_streams()}}});
  SetHealth(/*ready=*/false);
  const bool hurry = drain_delay_ > absl::ZeroDuration() && waiter.WaitOrHurry(drain_delay_);
  service_.BeginDrain();
  Waited waited = Waited::kInAHurry;
  if (!hurry) {
    const absl::Duration for_handing_back = std::min(kHandBackMax, drain_deadline_ / 4);
    waited = WaitForStreams(waiter, drain_deadline_ - for_handing_back);
    if (waited == Waited::kTooLong) {
      logger_.Write(LogLevel::kInfo, "handing back", {{"open_streams", uint64_t{service_.open_streams()}}});
      service_.HandBack();
      waited = WaitForStreams(waiter, for_handing_back);
    }
  }
  const bool finished = waited == Waited::kAllEnded;
  if (!finished) {
    logger_.Write(LogLevel::kWarning, "cancelling what is open", {{"open_streams", uint64_t{service_.open_streams()}}});
  }
  Shutdown(finished ? kShutdownGrace : absl::ZeroDuration());
  logger_.Write(LogLevel::kInfo, "stopped");
}

// gRPC's own Shutdown(deadline) can be neither hurried nor moved by a test, and waits for health watchers too.
Server::Waited Server::WaitForStreams(DrainWaiter& waiter, absl::Duration most) const {
  absl::Duration waited;
  while (service_.open_streams() > 0) {
    if (waited >= most) return Waited::kTooLong;
    const absl::Duration step = std::min(kStreamPoll, most - waited);
    if (waiter.WaitOrHurry(step)) return Waited::kInAHurry;
    waited += step;
  }
  return Waited::kAllEnded;
}

void Server::Shutdown(absl::Duration grace) {
  for (const auto& listener : unix_listeners_) listener->Stop();
  for (grpc::Server* server : {main_.get(), admin_.get()}) {
    if (server != nullptr) server->Shutdown(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(grace));
  }
}

Server::~Server() {
  device_health_.Listen(nullptr);
  Shutdown(absl::ZeroDuration());
}

}  // namespace quantd::server
