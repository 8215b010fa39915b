#include "client/cpp/server_addresses.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"

namespace quantd {
namespace {

constexpr int kConnectTimeoutMs = 1000;
constexpr std::string_view kIpv4 = "ipv4:";
constexpr std::string_view kIpv6 = "ipv6:";

using AddressList = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

bool Consume(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

bool Contains(std::string_view text, char c) { return text.find(c) != std::string_view::npos; }

struct HostAndPort {
  std::string host, port;
};

std::optional<HostAndPort> SplitHostAndPort(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon + 1 == text.size()) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  const bool bracketed = host.starts_with('[') && host.ends_with(']');
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (host.empty() || (!bracketed && Contains(host, ':'))) return std::nullopt;
  return HostAndPort{std::string(host), std::string(text.substr(colon + 1))};
}

// The name in "NAME:PORT", "dns:NAME:PORT" and "dns:///NAME:PORT"; nothing for any other kind of target, also one that
// asks a DNS server of its own.
std::optional<HostAndPort> NameIn(std::string_view target) {
  if (Consume(target, "dns:")) Consume(target, "///");
  const bool other_kind = target.starts_with("unix:") || target.starts_with("unix-abstract:") ||
                          target.starts_with(kIpv4) || target.starts_with(kIpv6);
  if (other_kind || Contains(target, '/')) return std::nullopt;
  return SplitHostAndPort(target);
}

AddressList Lookup(const HostAndPort& name, int flags) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags;
  addrinfo* list = nullptr;
  if (getaddrinfo(name.host.c_str(), name.port.c_str(), &hints, &list) != 0) list = nullptr;
  return {list, freeaddrinfo};
}

std::optional<std::string> TargetOf(const addrinfo& address) {
  char text[INET6_ADDRSTRLEN] = {};
  if (address.ai_family == AF_INET) {
    const auto& ip = *reinterpret_cast<const sockaddr_in*>(address.ai_addr);
    inet_ntop(AF_INET, &ip.sin_addr, text, sizeof(text));
    return std::string(kIpv4) + text + ":" + std::to_string(ntohs(ip.sin_port));
  }
  if (address.ai_family != AF_INET6) return std::nullopt;
  const auto& ip = *reinterpret_cast<const sockaddr_in6*>(address.ai_addr);
  if (ip.sin6_scope_id != 0) return std::nullopt;  // a target cannot say it
  inet_ntop(AF_INET6, &ip.sin6_addr, text, sizeof(text));
  return std::string(kIpv6) + "%5B" + text + "%5D:" + std::to_string(ntohs(ip.sin6_port));
}

std::vector<std::string> SplitList(std::string_view prefix, std::string_view target) {
  std::vector<std::string> targets;
  const std::string list(target.substr(prefix.size()));
  for (const std::string& one : std::vector<std::string>(absl::StrSplit(list, ',', absl::SkipEmpty()))) {
    targets.push_back(std::string(prefix) + one);
  }
  return targets;
}

bool Connects(const addrinfo& address) {
  const int socket = ::socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (socket < 0) return false;
  bool connected = connect(socket, address.ai_addr, address.ai_addrlen) == 0;
  if (!connected && errno == EINPROGRESS) {
    pollfd waiting{socket, POLLOUT, 0};
    int error = 1;
    socklen_t size = sizeof(error);
    connected = poll(&waiting, 1, kConnectTimeoutMs) == 1 &&
                getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
  }
  close(socket);
  return connected;
}

}  // namespace

std::vector<std::string> ResolveTarget(const std::string& target) {
  std::vector<std::string> targets;
  if (target.starts_with(kIpv4)) targets = SplitList(kIpv4, target);
  if (target.starts_with(kIpv6)) targets = SplitList(kIpv6, target);
  if (const auto name = NameIn(target); name.has_value()) {
    const AddressList list = Lookup(*name, AI_ADDRCONFIG);
    for (const addrinfo* one = list.get(); one != nullptr; one = one->ai_next) {
      if (auto address = TargetOf(*one); address.has_value()) targets.push_back(*std::move(address));
    }
  }
  if (targets.empty()) targets.push_back(target);
  return targets;
}

bool AcceptsConnections(const std::string& target) {
  std::string_view text = target;
  if (!Consume(text, kIpv4) && !Consume(text, kIpv6)) return true;
  const std::string plain = absl::StrReplaceAll(std::string(text), {{"%5B", "["}, {"%5D", "]"}});
  const auto name = SplitHostAndPort(plain);
  if (!name.has_value()) return true;
  const AddressList list = Lookup(*name, AI_NUMERICHOST);
  return list == nullptr || Connects(*list);
}

std::string AuthorityOf(const std::string& target) {
  const auto name = NameIn(target);
  if (!name.has_value()) return "";
  return (Contains(name->host, ':') ? "[" + name->host + "]" : name->host) + ":" + name->port;
}

ServerAddresses::ServerAddresses(std::string target) : ServerAddresses(std::move(target), World()) {}

ServerAddresses::ServerAddresses(std::string target, World world)
    : target_(std::move(target)), world_(std::move(world)) {}

const ServerAddresses::Pinned& ServerAddresses::Get() {
  if (addresses_.empty()) {
    Resolve();
    PinFirstReachable();
  }
  return pinned_;
}

void ServerAddresses::MoveOn(uint64_t generation) {
  if (addresses_.empty() || generation != pinned_.generation) return;
  if (++index_ >= addresses_.size()) Resolve();
  PinFirstReachable();
}

void ServerAddresses::Resolve() {
  addresses_ = world_.resolve(target_);
  index_ = 0;
}

// From index_ on, and then from the start. Where none can be connected to, gRPC says why.
void ServerAddresses::PinFirstReachable() {
  for (size_t tried = 0; tried < addresses_.size() && addresses_.size() > 1; ++tried) {
    if (world_.accepts_connections(addresses_[index_])) break;
    index_ = (index_ + 1) % addresses_.size();
  }
  if (addresses_[index_] == pinned_.target) return;
  pinned_ = {addresses_[index_], pinned_.generation + 1};
}

}  // namespace quantd
