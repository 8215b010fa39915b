// What a tensor must fulfil before anything is done for it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "kernels/scheme/plan.h"
#include "server/session/frame.h"
#include "server/session/limits.h"

namespace quantd::server {

// INVALID_ARGUMENT: a name (INVALID_NAME) or overrides (INVALID_OVERRIDE) beyond the limits.
absl::Status CheckRequest(const TensorRequest& request, const Limits& limits);

// FAILED_PRECONDITION with reason UNIT_TOO_LARGE: a unit and its results do not fit a slot.
absl::Status CheckUnitFits(const Plan& plan, const Limits& limits);

// INVALID_ARGUMENT with reason STATISTIC_NEEDED: error metrics that would need the spooled scales.
absl::Status CheckErrorMetrics(const TensorRequest& request, const Plan& plan);

// With which statistics in the header the plan, which needs a spool, would need none.
std::string MissingStatistics(const Plan& plan);

// The segment of that name; null if there is none. Lives as long as `segments`.
const SegmentLayout* FindSegment(const std::vector<SegmentLayout>& segments, std::string_view name);

}  // namespace quantd::server
