// How long a refused client should wait before it tries again, as a named value of the error.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "absl/time/time.h"

namespace quantd::server {

// The name in ErrorDetails::metadata; milliseconds.
inline constexpr char kRetryDelayKey[] = "retry_delay_ms";

inline constexpr absl::Duration kRetryDelayMin = absl::Milliseconds(250);
inline constexpr absl::Duration kRetryDelayMax = absl::Seconds(30);

// Spreads those who were refused together, so that they do not come back together. Not thread-safe.
class RetryDelays {
 public:
  // Half to one and a half of the queue's length, which is taken to be within the two above; as a value for
  // kRetryDelayKey. Steps of the golden ratio: any few that follow one another lie far apart.
  std::string Next(absl::Duration queue_time) {
    step_ += kGoldenStep;
    const double factor = 0.5 + static_cast<double>(step_) / UINT32_MAX;
    const absl::Duration delay = std::clamp(queue_time, kRetryDelayMin, kRetryDelayMax) * factor;
    return std::to_string(absl::ToInt64Milliseconds(delay));
  }

 private:
  static constexpr uint32_t kGoldenStep = 2'654'435'769;  // 2^32 / golden ratio
  uint32_t step_ = 0;
};

}  // namespace quantd::server
