// On whose behalf a stream runs. Slots, spool and limits are counted by principal.
#pragma once

#include <string>
#include <string_view>

namespace quantd::server {

struct Principal {
  std::string name = "anonymous";  // or "uid:1000" on a unix listener

  bool operator==(const Principal&) const = default;
};

// The property of a connection's gRPC AuthContext that holds the principal's name, where a listener knows one.
inline constexpr std::string_view kPrincipalProperty = "quantd_principal";

}  // namespace quantd::server
