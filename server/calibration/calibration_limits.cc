#include "server/calibration/calibration_limits.h"

#include <string>

namespace quantd::server {
namespace {

absl::Status InRange(const char* name, uint64_t value, uint64_t min, uint64_t max) {
  if (value >= min && value <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(std::string(name) + " is " + std::to_string(value) + "; choose " +
                                    std::to_string(min) + " to " + std::to_string(max) + ".");
}

}  // namespace

absl::Status Validate(const CalibrationLimits& limits) {
  constexpr uint64_t kBytesMin = 1 << 20;
  const absl::Status checks[] = {
      InRange("bytes_max", limits.bytes_max, kBytesMin, kCalibrationBytesMax),
      InRange("session_bytes_max", limits.session_bytes_max, kBytesMin, limits.bytes_max),
      InRange("sessions_max", limits.sessions_max, 1, 65'536),
      InRange("sessions_per_principal_max", limits.sessions_per_principal_max, 1, limits.sessions_max),
  };
  for (const absl::Status& check : checks) {
    if (!check.ok()) return check;
  }
  if (limits.ttl < absl::Seconds(1) || limits.ttl > absl::Hours(24 * 365)) {
    return absl::InvalidArgumentError("ttl is " + absl::FormatDuration(limits.ttl) + "; choose 1s to 8760h.");
  }
  return absl::OkStatus();
}

}  // namespace quantd::server
