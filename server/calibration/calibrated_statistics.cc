#include "server/calibration/calibrated_statistics.h"

#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "kernels/base/status_macros.h"

namespace quantd::server {

absl::StatusOr<RangeRequest> RangeRequestFor(const RangeWords& words, const Plan& plan) {
  QUANTD_ASSIGN_OR_RETURN(RangeRequest request, ParseRangeWords({words.method, words.percentile, "", {}}));
  const bool searches = request.method == RangeMethod::kMse || request.method == RangeMethod::kEntropy;
  if (searches && plan.scheme.grouping != Grouping::kTensor) {
    return InvalidArgument(reason::kInvalidRangeRequest,
                           "the methods mse and entropy find the range of one scale for the tensor, and this scheme "
                           "has others under it. Choose minmax or percentile.");
  }
  request.target = plan.scheme.element;
  request.symmetric = plan.scheme.symmetric;
  return request;
}

KnownStatistics WithRange(const Plan& plan, const Range& range) {
  KnownStatistics known = plan.known;
  if (plan.scheme.symmetric) {
    known.amax = range.Absmax();
  } else {
    known.min = range.lowest;
    known.max = range.highest;
  }
  return known;
}

absl::StatusOr<KnownStatistics> StatisticsFrom(std::span<const TensorStatistics* const> tensors,
                                               const RangeWords& words, const Plan& plan) {
  QUANTD_ASSIGN_OR_RETURN(const RangeRequest request, RangeRequestFor(words, plan));
  QUANTD_ASSIGN_OR_RETURN(const Range range, FindSharedRange(tensors, request));
  return WithRange(plan, range);
}

}  // namespace quantd::server
