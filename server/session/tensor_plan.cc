#include "server/session/tensor_plan.h"

#include <algorithm>
#include <utility>

#include "kernels/base/status_macros.h"
#include "server/session/tensor_check.h"

namespace quantd::server {

absl::StatusOr<std::shared_ptr<const TensorPlan>> PlanCache::PlanOf(const TensorRequest& request, Direction direction) {
  const ChannelArrays arrays{request.smoothing.has_value(), request.importance.has_value()};
  // Statistics are one tensor's: their plans would only push out others.
  const bool is_shared = request.known == KnownStatistics{};
  if (is_shared) {
    if (auto found = Find(request, direction, arrays)) return found;
  }
  QUANTD_ASSIGN_OR_RETURN(const Scheme scheme, ResolveScheme(request.scheme));
  QUANTD_ASSIGN_OR_RETURN(Plan plan, MakePlan(scheme, direction, request.dtype, request.shape, request.known, arrays));
  QUANTD_RETURN_IF_ERROR(CheckUnitFits(plan, limits_));
  auto made = std::make_shared<const TensorPlan>(std::move(plan));
  if (is_shared) Keep({direction, request.dtype, request.shape, request.scheme, arrays, made});
  return made;
}

std::shared_ptr<const TensorPlan> PlanCache::Find(const TensorRequest& request, Direction direction,
                                                  ChannelArrays arrays) {
  absl::MutexLock lock(&mutex_);
  const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) {
    return entry.direction == direction && entry.dtype == request.dtype && entry.arrays == arrays &&
           entry.shape == request.shape && entry.scheme == request.scheme;
  });
  if (found == entries_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found);
  return found->plan;
}

void PlanCache::Keep(Entry entry) {
  absl::MutexLock lock(&mutex_);
  entries_.push_front(std::move(entry));
  if (entries_.size() > plans_max_) entries_.pop_back();
}

}  // namespace quantd::server
