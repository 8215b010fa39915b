// A range request as callers write it.
#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "kernels/calibrate/ranges.h"

namespace quantd::server {

// quantd.v1.RangeMethod. What is empty or absent has its default.
struct RangeWords {
  std::string method;
  std::optional<double> percentile;
  std::string target;  // an element's name
  std::optional<bool> symmetric;
};

// INVALID_ARGUMENT with reason INVALID_RANGE_REQUEST for unknown words, and for a percentile of another method.
absl::StatusOr<RangeRequest> ParseRangeWords(const RangeWords& words);

}  // namespace quantd::server
