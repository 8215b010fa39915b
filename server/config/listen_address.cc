#include "server/config/listen_address.h"

#include <charconv>

namespace quantd::server {
namespace {

constexpr std::string_view kUnixPrefix = "unix:";

absl::Status Refused(std::string_view field, std::string_view text, std::string_view problem) {
  return absl::InvalidArgumentError(std::string(field) + ": \"" + std::string(text) + "\" " + std::string(problem) +
                                    "; write HOST:PORT, :PORT or unix:PATH, for example 127.0.0.1:50051");
}

}  // namespace

absl::StatusOr<ListenAddress> ParseListenAddress(std::string_view field, std::string_view text) {
  ListenAddress address;
  if (text.starts_with(kUnixPrefix)) {
    address.path = text.substr(kUnixPrefix.size());
    if (address.path.empty()) return Refused(field, text, "has no path");
    if (address.path.find('\0') != std::string::npos) return Refused(field, text, "has a zero byte in its path");
    if (address.path.size() > kUnixPathBytesMax) {
      return Refused(field, text,
                     "has a path of " + std::to_string(address.path.size()) + " bytes, more than the " +
                         std::to_string(kUnixPathBytesMax) + " that a socket may have");
    }
    return address;
  }

  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return Refused(field, text, "has no port");
  const std::string_view host = text.substr(0, colon);
  const std::string_view port = text.substr(colon + 1);
  const char* const end = port.data() + port.size();
  const auto [parsed_to, error] = std::from_chars(port.data(), end, address.port);
  if (port.empty() || parsed_to != end || error != std::errc()) {
    return Refused(field, text, "has no port between 0 and 65535");
  }
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (host.find(':') != std::string_view::npos && !bracketed) {
    return Refused(field, text, "has an IPv6 address without [brackets]");
  }
  if (host.find_first_of("/ \t\r\n") != std::string_view::npos) return Refused(field, text, "is not a host and port");
  address.host = host.empty() ? "[::]" : host;
  return address;
}

}  // namespace quantd::server
