// Where a server listens, as people write it: "HOST:PORT", ":PORT" or "unix:PATH".
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace quantd::server {

struct ListenAddress {
  std::string host;   // "[::]" for every interface; empty for a unix socket
  uint16_t port = 0;  // 0: the system chooses
  std::string path;   // of a unix socket, else empty

  bool is_unix() const { return !path.empty(); }
};

inline constexpr size_t kUnixPathBytesMax = 107;

// INVALID_ARGUMENT, naming `field` and what is allowed there. An IPv6 host stands in brackets: "[::1]:50051".
absl::StatusOr<ListenAddress> ParseListenAddress(std::string_view field, std::string_view text);

}  // namespace quantd::server
