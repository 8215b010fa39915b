// A tensor's distribution as a picture of pixels.
#pragma once

#include <cstddef>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/drawn_histogram.h"

namespace quantd::cli {

// A PNG file: upright bars on an axis. No words, for libpng has no fonts. INTERNAL if libpng fails.
absl::StatusOr<std::vector<std::byte>> FormatPng(const DrawnHistogram& histogram);

}  // namespace quantd::cli
