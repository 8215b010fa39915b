#include "client/cli/calibrated_params.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cli/exit_code.h"
#include "client/cpp/local_range.h"
#include "kernels/base/error.h"
#include "server/calibration/calibrated_statistics.h"
#include "server/conversion/printable.h"

namespace quantd::cli {

absl::StatusOr<KnownStatistics> CalibratedParams(const CalibrationChoice& choice, const std::string& tensor,
                                                 const Plan& plan) {
  if (!SpoolsValues(plan)) return plan.known;
  const auto found = choice.calibration.tensors.find(tensor);
  if (found == choice.calibration.tensors.end()) {
    return UsageError(absl::StrCat("the calibration has no tensor ", server::Quoted(tensor),
                                   "; calibrate it too, or choose with --include which tensors are converted"));
  }
  const TensorStatistics* const statistics = &found->second;
  absl::StatusOr<KnownStatistics> known = server::StatisticsFrom({&statistics, 1}, choice.words, plan);
  if (known.ok()) return known;
  absl::Status named(known.status().code(),
                     absl::StrCat("tensor ", server::Quoted(tensor), ": ", std::string(known.status().message())));
  return WithExitCode(WithDetails(std::move(named), DetailsOf(known.status())), ExitCode::kUsage);
}

}  // namespace quantd::cli
