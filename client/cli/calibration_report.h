// A calibration as a table, or as JSON.
#pragma once

#include <string>

#include "kernels/calibrate/calibration_file.h"

namespace quantd::cli {

std::string FormatTable(const Calibration& calibration);
std::string FormatJson(const Calibration& calibration);

}  // namespace quantd::cli
