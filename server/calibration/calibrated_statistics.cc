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

}  // namespace

absl::StatusOr<KnownStatistics> StatisticsFrom(std::span<const TensorStatistics* const> tensors,
                                               const RangeWords& words, const Plan& plan) {
  QUANTD_ASSIGN_OR_RETURN(RangeRequest request, ParseRangeWords({words.method, words.percentile, "", {}}));
  const bool searches = request.method == RangeMethod::kMse || request.method == RangeMethod::kEntropy;
  if (searches && plan.scheme.grouping != Grouping::kTensor) {
    return InvalidArgument(reason::kInvalidRangeRequest,
                           "the methods mse and entropy find the range of one scale for the tensor, and this scheme "
                           "has others under it. Choose minmax or percentile.");
  }
  request.target = plan.scheme.element;
  request.symmetric = plan.scheme.symmetric;
  QUANTD_ASSIGN_OR_RETURN(const Range range, FindSharedRange(tensors, request));
  KnownStatistics known = plan.known;
  if (plan.scheme.symmetric) {
    known.amax = range.Absmax();
  } else {
    known.min = range.lowest;
    known.max = range.highest;
  }
  return known;
}

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
  return StatisticsFrom(statistics, {reference.method, reference.percentile, "", {}}, plan);
}

}  // namespace quantd::server
