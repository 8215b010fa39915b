#include "server/calibration/calibrated_statistics.h"

#include <memory>
#include <string>
#include <vector>

#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "kernels/base/status_macros.h"
#include "kernels/calibrate/ranges.h"
#include "kernels/scheme/scheme.h"
#include "server/calibration/calibration_errors.h"
#include "server/calibration/range_words.h"

namespace quantd::server {
namespace {

constexpr size_t kTensorsMax = 64;

absl::StatusOr<RangeRequest> RangeRequestOf(const CalibrationReference& reference, const Scheme& scheme) {
  QUANTD_ASSIGN_OR_RETURN(RangeRequest range, ParseRangeWords({reference.method, reference.percentile, "", {}}));
  const bool searches = range.method == RangeMethod::kMse || range.method == RangeMethod::kEntropy;
  if (searches && scheme.grouping != Grouping::kTensor) {
    return InvalidArgument(reason::kInvalidRangeRequest,
                           "the methods mse and entropy find the range of one scale for the tensor, and this scheme "
                           "has others under it. Choose minmax or percentile.");
  }
  range.target = scheme.element;
  range.symmetric = scheme.symmetric;
  return range;
}

}  // namespace

absl::StatusOr<KnownStatistics> CalibratedStatistics(const TensorRequest& request, const Principal& principal,
                                                     CalibrationStore& store) {
  const CalibrationReference& reference = *request.calibration;
  QUANTD_ASSIGN_OR_RETURN(const Scheme scheme, ResolveScheme(request.scheme));
  QUANTD_ASSIGN_OR_RETURN(const Plan plan,
                          MakePlan(scheme, Direction::kQuantize, request.dtype, request.shape, request.known));
  if (!plan.NeedsRange()) {
    return InvalidArgument(reason::kUnusedStatistic,
                           "a calibration gives the range of the whole tensor; this scheme needs none, or statistics "
                           "give it already. Send one of them, and only for schemes with one scale for the tensor "
                           "(grouping=tensor) or a global one (NVFP4).",
                           {{"statistic", "calibration"}});
  }
  if (reference.tensors.size() > kTensorsMax) {
    return InvalidCalibration("calibration names " + std::to_string(reference.tensors.size()) +
                              " tensors; send at most " + std::to_string(kTensorsMax) + ".");
  }
  QUANTD_ASSIGN_OR_RETURN(const RangeRequest range_request, RangeRequestOf(reference, scheme));
  QUANTD_ASSIGN_OR_RETURN(const auto session, store.Find(principal, reference.session_id));
  const std::vector<std::string> names =
      reference.tensors.empty() ? std::vector<std::string>{request.name} : reference.tensors;
  std::vector<std::shared_ptr<const TensorStatistics>> owners;
  std::vector<const TensorStatistics*> statistics;
  for (const std::string& name : names) {
    QUANTD_ASSIGN_OR_RETURN(const ClosedTensor tensor, session->Read(name, store.now()));
    owners.push_back(tensor.statistics);
    statistics.push_back(tensor.statistics.get());
  }
  QUANTD_ASSIGN_OR_RETURN(const Range range, FindSharedRange(statistics, range_request));
  KnownStatistics known = request.known;
  if (scheme.symmetric) {
    known.amax = range.Absmax();
  } else {
    known.min = range.lowest;
    known.max = range.highest;
  }
  return known;
}

}  // namespace quantd::server
