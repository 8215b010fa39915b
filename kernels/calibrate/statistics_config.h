// What is counted of every tensor of a calibration. Only statistics of equal configurations merge.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/statusor.h"

namespace quantd {

// What shares a bucket of the statistics. kTensor: everything. kChannel: an index of one axis, or several adjoining
// ones. kGroup: a run inside a row.
enum class StatisticsGrouping : uint8_t { kTensor, kChannel, kGroup };

// kRange: counts, lowest, highest, non-finite. kDistribution, of kTensor only: a histogram and exact sums too.
// kImportance: the exact sum of squares of each bucket too.
enum class StatisticsCollection : uint8_t { kRange, kDistribution, kImportance };

inline constexpr int32_t kStatisticsAxisMax = 15;          // and from the end -16
inline constexpr uint32_t kStatisticsGroupMax = 1u << 24;  // channels or elements

struct StatisticsConfig {
  StatisticsGrouping grouping = StatisticsGrouping::kTensor;
  StatisticsCollection collection = StatisticsCollection::kDistribution;
  int32_t axis = -1;        // of kChannel; from the end if negative
  uint32_t group_size = 1;  // kChannel: adjoining channels that share a bucket. kGroup: elements

  bool operator==(const StatisticsConfig&) const = default;
};

// From `grouping` (tensor | channel | group), `collect` (range | distribution | importance), `axis`, `group_size`; what
// is left out is {tensor, distribution}, or {range, -1, 1} for the other groupings; kGroup needs a group_size.
// INVALID_ARGUMENT with reason INVALID_STATISTICS_CONFIG and metadata `field`.
absl::StatusOr<StatisticsConfig> ParseStatisticsConfig(const std::map<std::string, std::string>& fields);

// Every field that the grouping uses; parsing them gives the configuration back.
std::map<std::string, std::string> ToFields(const StatisticsConfig& config);

// As ParseStatisticsConfig, of a configuration that did not come from it.
absl::Status CheckStatisticsConfig(const StatisticsConfig& config);

// The same for equal configurations, on every machine and in every release.
uint64_t ConfigHash(const StatisticsConfig& config);

}  // namespace quantd
