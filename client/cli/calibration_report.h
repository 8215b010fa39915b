// A calibration as a table, or as JSON.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "kernels/calibrate/calibration_file.h"
#include "kernels/calibrate/ranges.h"

namespace quantd::cli {

// One for each bucket of each tensor, by name; nothing: none were asked for.
using ShownRanges = std::map<std::string, std::vector<Range>>;

std::string FormatTable(const Calibration& calibration, const ShownRanges& ranges = {});
std::string FormatJson(const Calibration& calibration, const ShownRanges& ranges = {});

}  // namespace quantd::cli
