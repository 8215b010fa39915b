#include "server/config/server_config.h"

#include <sched.h>

#include <charconv>
#include <optional>
#include <string_view>

#include "kernels/base/status_macros.h"
#include "proto/codec/frame_codec.h"
#include "server/config/listen_address.h"

namespace quantd::server {
namespace {

constexpr uint64_t kKiB = 1u << 10;
constexpr uint64_t kMiB = 1u << 20;
constexpr uint64_t kGiB = 1u << 30;
constexpr uint64_t kPiB = 1ull << 50;
constexpr size_t kListenersMax = 16;
constexpr size_t kAllowedUidsMax = 64;

absl::Status OutOfRange(std::string_view field, const std::string& value, const std::string& minimum,
                        const std::string& maximum) {
  return absl::InvalidArgumentError(std::string(field) + " is " + value + "; set it between " + minimum + " and " +
                                    maximum);
}

absl::Status CheckRange(std::string_view field, uint64_t value, uint64_t minimum, uint64_t maximum) {
  if (value >= minimum && value <= maximum) return absl::OkStatus();
  return OutOfRange(field, std::to_string(value), std::to_string(minimum), std::to_string(maximum));
}

absl::Status CheckRange(std::string_view field, absl::Duration value, absl::Duration minimum, absl::Duration maximum) {
  if (value >= minimum && value <= maximum) return absl::OkStatus();
  return OutOfRange(field, absl::FormatDuration(value), absl::FormatDuration(minimum), absl::FormatDuration(maximum));
}

absl::Status ValidateLimits(const Limits& limits) {
  QUANTD_RETURN_IF_ERROR(CheckRange("limits.slot_bytes", limits.slot_bytes, kMiB, 64 * kMiB));
  if (limits.slot_bytes % (4 * kKiB) != 0) {
    return absl::InvalidArgumentError("limits.slot_bytes is " + std::to_string(limits.slot_bytes) +
                                      "; set it to a multiple of 4096");
  }
  QUANTD_RETURN_IF_ERROR(CheckRange("limits.slots_max", limits.slots_max, 2, 65536));
  QUANTD_RETURN_IF_ERROR(CheckRange("limits.slots_per_stream_max", limits.slots_per_stream_max, 2, limits.slots_max));
  QUANTD_RETURN_IF_ERROR(CheckRange("limits.window_bytes", limits.window_bytes, 256 * kKiB, kGiB));
  QUANTD_RETURN_IF_ERROR(
      CheckRange("limits.response_data_bytes", limits.response_data_bytes, 4 * kKiB, wire::kFrameDataBytesMax));
  QUANTD_RETURN_IF_ERROR(CheckRange("limits.spool_bytes_max", limits.spool_bytes_max, 0, kPiB));
  QUANTD_RETURN_IF_ERROR(
      CheckRange("limits.spool_bytes_per_stream_max", limits.spool_bytes_per_stream_max, 0, limits.spool_bytes_max));
  QUANTD_RETURN_IF_ERROR(CheckRange("limits.streams_max", limits.streams_max, 1, 65536));
  QUANTD_RETURN_IF_ERROR(
      CheckRange("limits.streams_per_principal_max", limits.streams_per_principal_max, 1, limits.streams_max));
  QUANTD_RETURN_IF_ERROR(CheckRange("limits.overrides_max", limits.overrides_max, 1, 1024));
  QUANTD_RETURN_IF_ERROR(CheckRange("limits.name_bytes_max", limits.name_bytes_max, 1, 4096));
  return CheckRange("limits.stall_max", limits.stall_max, absl::Seconds(1), absl::Hours(1));
}

std::optional<uint32_t> OctalMode(std::string_view text) {
  uint32_t mode = 0;
  const char* const end = text.data() + text.size();
  const auto [parsed_to, error] = std::from_chars(text.data(), end, mode, 8);
  if (text.size() != 4 || parsed_to != end || error != std::errc()) return std::nullopt;
  return mode;
}

absl::Status ValidateListeners(const ServerConfig& config) {
  QUANTD_RETURN_IF_ERROR(CheckRange("the number of listen entries", config.listen.size(), 0, kListenersMax));
  for (const std::string& listen : config.listen) {
    QUANTD_RETURN_IF_ERROR(ParseListenAddress("listen", listen).status());
  }
  if (!config.admin_listen.empty()) {
    QUANTD_ASSIGN_OR_RETURN(const ListenAddress admin, ParseListenAddress("admin_listen", config.admin_listen));
    if (admin.is_unix()) {
      return absl::InvalidArgumentError("admin_listen: \"" + config.admin_listen +
                                        "\" is a unix socket; write HOST:PORT, for example 127.0.0.1:50052");
    }
  }
  const std::optional<uint32_t> mode = OctalMode(config.unix_mode);
  if (!mode || *mode < 0600 || *mode > 0777) {
    return absl::InvalidArgumentError("unix_listener.mode is \"" + config.unix_mode +
                                      "\"; set it to an octal string between \"0600\" and \"0777\"");
  }
  return CheckRange("the number of unix_listener.allowed_uids", config.unix_allowed_uids.size(), 0, kAllowedUidsMax);
}

}  // namespace

absl::Status Validate(const ServerConfig& config) {
  QUANTD_RETURN_IF_ERROR(ValidateListeners(config));
  QUANTD_RETURN_IF_ERROR(CheckRange("compute_threads", config.compute_threads, 0, 1024));
  if (config.spool_directory.empty()) {
    return absl::InvalidArgumentError("spool_directory is empty; set it to an existing folder, for example \"/tmp\"");
  }
  QUANTD_RETURN_IF_ERROR(CheckRange("transport_bytes_max", config.transport_bytes_max, 64 * kMiB, 64 * kGiB));
  QUANTD_RETURN_IF_ERROR(ValidateLimits(config.limits));
  QUANTD_RETURN_IF_ERROR(CheckRange("drain.delay", config.drain_delay, absl::ZeroDuration(), absl::Minutes(10)));
  return CheckRange("drain.deadline", config.drain_deadline, absl::ZeroDuration(), absl::Hours(1));
}

uint32_t ComputeThreads(const ServerConfig& config) {
  if (config.compute_threads != 0) return config.compute_threads;
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return 1;
  return static_cast<uint32_t>(CPU_COUNT(&allowed));
}

uint32_t UnixMode(const ServerConfig& config) { return OctalMode(config.unix_mode).value_or(0600); }

}  // namespace quantd::server
