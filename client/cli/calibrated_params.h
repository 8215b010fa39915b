// Statistics for quantization from a `.qcal` file.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "kernels/calibrate/calibration_file.h"
#include "kernels/scheme/plan.h"
#include "server/calibration/range_words.h"

namespace quantd::cli {

struct CalibrationChoice {
  Calibration calibration;
  server::RangeWords words;
};

// What `plan` knows, and the range of the tensor of that name, if its scheme has one of the whole tensor and does not
// know it. A usage error if the file lacks the tensor or the method finds no range.
absl::StatusOr<KnownStatistics> CalibratedParams(const CalibrationChoice& choice, const std::string& tensor,
                                                 const Plan& plan);

}  // namespace quantd::cli
