// What a session counts, as clients write it.
#pragma once

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "kernels/calibrate/statistics_config.h"

namespace quantd::server {

// ParseStatisticsConfig, which also says why a moving average is refused: INVALID_ARGUMENT, reason
// INVALID_STATISTICS_CONFIG.
absl::StatusOr<StatisticsConfig> ParseSessionConfig(const std::map<std::string, std::string>& fields);

}  // namespace quantd::server
