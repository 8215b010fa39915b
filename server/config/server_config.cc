#include "server/config/server_config.h"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>
#include <string_view>

#include "kernels/base/status_macros.h"
#include "server/config/listen_address.h"
#include "server/session/principal.h"

namespace quantd::server {
namespace {

constexpr uint64_t kMiB = 1u << 20;
constexpr uint64_t kGiB = 1u << 30;
constexpr size_t kListenersMax = 16;
constexpr size_t kAllowedUidsMax = 64;
constexpr size_t kPrincipalsMax = 256;
constexpr size_t kPrincipalNameBytesMax = 128;

absl::Status OutOfRange(std::string_view field, const std::string& value, const std::string& minimum,
                        const std::string& maximum) {
  return absl::InvalidArgumentError(std::string(field) + " is " + value + "; choose " + minimum + " to " + maximum);
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
  const absl::Status status = Validate(limits);
  if (status.ok()) return absl::OkStatus();
  return absl::Status(status.code(), "limits." + std::string(status.message()));
}

absl::Status ValidateCalibration(const CalibrationLimits& limits) {
  const absl::Status status = Validate(limits);
  if (status.ok()) return absl::OkStatus();
  return absl::Status(status.code(), "calibration." + std::string(status.message()));
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
                                      "\"; choose an octal string from \"0600\" to \"0777\"");
  }
  return CheckRange("the number of unix_listener.allowed_uids", config.unix_allowed_uids.size(), 0, kAllowedUidsMax);
}

absl::Status ValidatePrincipals(const std::vector<PrincipalConfig>& principals) {
  QUANTD_RETURN_IF_ERROR(CheckRange("the number of principals", principals.size(), 0, kPrincipalsMax));
  std::set<std::string> names;
  for (const PrincipalConfig& principal : principals) {
    QUANTD_RETURN_IF_ERROR(
        CheckRange("the length of a principals.name", principal.name.size(), 1, kPrincipalNameBytesMax));
    QUANTD_RETURN_IF_ERROR(
        CheckRange("principals.weight of " + principal.name, principal.weight, 1, kPrincipalWeightMax));
    if (!names.insert(principal.name).second) {
      return absl::InvalidArgumentError("principals has " + principal.name + " twice; name each once");
    }
  }
  return absl::OkStatus();
}

absl::Status ValidateGpu(const GpuConfig& gpu) {
  QUANTD_RETURN_IF_ERROR(CheckRange("gpu.memory_budget_bytes", gpu.memory_budget_bytes, kGiB, 1024 * kGiB));
  QUANTD_RETURN_IF_ERROR(CheckRange("gpu.units_in_flight_max", gpu.units_in_flight_max, 1, 64));
  QUANTD_RETURN_IF_ERROR(CheckRange("gpu.min_batch_bytes", gpu.min_batch_bytes, 0, kGiB));
  QUANTD_RETURN_IF_ERROR(
      CheckRange("gpu.copy_bytes_per_second_max", gpu.copy_bytes_per_second_max, 0, uint64_t{1} << 40));
  QUANTD_RETURN_IF_ERROR(CheckRange("gpu.duty_percent_max", gpu.duty_percent_max, 1, 100));
  QUANTD_RETURN_IF_ERROR(CheckRange("gpu.unit_deadline", gpu.unit_deadline, absl::Milliseconds(100), absl::Hours(1)));
  QUANTD_RETURN_IF_ERROR(CheckRange("gpu.idle_trim", gpu.idle_trim, absl::ZeroDuration(), absl::Hours(24)));
  return CheckRange("gpu.idle_exit", gpu.idle_exit, absl::Milliseconds(100), absl::Hours(24 * 365));
}

}  // namespace

absl::Status Validate(const ServerConfig& config) {
  QUANTD_RETURN_IF_ERROR(ValidateListeners(config));
  QUANTD_RETURN_IF_ERROR(CheckRange("compute_threads", config.compute_threads, 0, 1024));
  if (config.spool_directory.empty()) {
    return absl::InvalidArgumentError("spool_directory is empty; choose an existing folder, for example \"/tmp\"");
  }
  QUANTD_RETURN_IF_ERROR(CheckRange("transport_bytes_max", config.transport_bytes_max, 64 * kMiB, 64 * kGiB));
  QUANTD_RETURN_IF_ERROR(ValidateLimits(config.limits));
  QUANTD_RETURN_IF_ERROR(ValidatePrincipals(config.principals));
  QUANTD_RETURN_IF_ERROR(ValidateCalibration(config.calibration));
  QUANTD_RETURN_IF_ERROR(ValidateGpu(config.gpu));
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

Limits EffectiveLimits(const ServerConfig& config) {
  Limits limits = config.limits;
  const bool callers_are_known = std::any_of(config.listen.begin(), config.listen.end(), [](const std::string& listen) {
    const auto address = ParseListenAddress("listen", listen);
    return address.ok() && address->is_unix();
  });
  if (callers_are_known) return limits;
  if (limits.slots_per_principal_max == 0) limits.slots_per_principal_max = limits.slots_max;
  if (limits.load_bytes_per_principal_max == 0) limits.load_bytes_per_principal_max = limits.load_bytes_max;
  if (limits.parked_bytes_per_principal_max == 0) limits.parked_bytes_per_principal_max = limits.parked_bytes_max;
  return limits;
}

uint32_t UnixMode(const ServerConfig& config) { return OctalMode(config.unix_mode).value_or(0600); }

}  // namespace quantd::server
