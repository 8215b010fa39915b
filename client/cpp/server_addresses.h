// The addresses behind a server's name, of which one is used until it fails.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace quantd {

// gRPC targets of one address each: what "HOST:PORT" and "dns:///HOST:PORT" resolve to, and the parts of "ipv4:A,B" and
// "ipv6:A,B". The target itself where it is something else, or does not resolve: then gRPC says why. Blocks.
std::vector<std::string> ResolveTarget(const std::string& target);

// Whether a TCP connection can be made within a second. True for what is no single TCP address.
bool AcceptsConnections(const std::string& target);

// What a server calls itself in HTTP/2, whichever of its addresses is connected to: "HOST:PORT" of a name, else empty.
std::string AuthorityOf(const std::string& target);

// gRPC resolves a name for each channel, and again whenever a connection breaks: with several servers behind it, the
// connections of one client would be spread over them, and what one of them keeps would not be found. Not thread-safe.
class ServerAddresses {
 public:
  struct World {
    std::function<std::vector<std::string>(const std::string&)> resolve = ResolveTarget;
    std::function<bool(const std::string&)> accepts_connections = AcceptsConnections;
  };
  struct Pinned {
    std::string target;
    uint64_t generation = 0;  // changes with the target
  };

  // Does not resolve yet.
  explicit ServerAddresses(std::string target);
  ServerAddresses(std::string target, World world);

  // The address in use; the first that can be connected to if there was none. Blocks then.
  const Pinned& Get();
  // The address of that generation has failed: takes the next, and resolves the name anew after the last one. Has no
  // effect if somebody else has moved on already.
  void MoveOn(uint64_t generation);

 private:
  void Resolve();
  void PinFirstReachable();

  const std::string target_;
  const World world_;
  std::vector<std::string> addresses_;  // empty: not resolved yet
  size_t index_ = 0;                    // of the one in use
  Pinned pinned_;
};

}  // namespace quantd
