// On whose behalf a stream runs. Slots, credit, load and turns are counted by principal.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace quantd::server {

inline constexpr uint32_t kPrincipalWeightMax = 1000;

struct Principal {
  std::string name = "anonymous";  // or "uid:1000" on a unix listener
  // Its part of what is short, beside the parts of others that want it too: 1 to kPrincipalWeightMax.
  uint32_t weight = 1;

  bool operator==(const Principal&) const = default;
};

// The property of a connection's gRPC AuthContext that holds the principal's name, where a listener knows one.
inline constexpr std::string_view kPrincipalProperty = "quantd_principal";

}  // namespace quantd::server
