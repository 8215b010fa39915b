// What calibration sessions may hold.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace quantd::server {

inline constexpr size_t kCalibrationIdBytesMax = 128;       // of a session's, a contribution's or an import's id
inline constexpr uint32_t kContributionIdsMax = 65'536;     // different ones in a session
inline constexpr uint32_t kCalibrationTensorsMax = 65'536;  // in a session
inline constexpr uint64_t kCalibrationBytesMax = uint64_t{1} << 44;

struct CalibrationLimits {
  uint64_t session_bytes_max = uint64_t{1} << 30;  // memory of one session: 1 MiB to bytes_max
  uint64_t bytes_max = uint64_t{2} << 30;          // memory of all sessions: 1 MiB to 16 TiB
  uint32_t sessions_max = 256;                     // 1 to 65536
  uint32_t sessions_per_principal_max = 64;        // 1 to sessions_max
  absl::Duration ttl = absl::Hours(24);            // 1 s to 1 year without use, after which a session is deleted
};

// INVALID_ARGUMENT that names the field and its range.
absl::Status Validate(const CalibrationLimits& limits);

}  // namespace quantd::server
