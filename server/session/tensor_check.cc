#include "server/session/tensor_check.h"

#include <algorithm>

#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "kernels/scheme/batch_layout.h"

namespace quantd::server {

absl::Status CheckRequest(const TensorRequest& request, const Limits& limits) {
  if (request.name.size() > limits.name_bytes_max) {
    return InvalidArgument(reason::kInvalidName, "the tensor's name has " + std::to_string(request.name.size()) +
                                                     " bytes; send at most " + std::to_string(limits.name_bytes_max) +
                                                     ".");
  }
  if (request.scheme.overrides.size() > limits.overrides_max) {
    return InvalidArgument(reason::kInvalidOverride,
                           "the scheme has " + std::to_string(request.scheme.overrides.size()) +
                               " overrides; send at most " + std::to_string(limits.overrides_max) + ".");
  }
  return absl::OkStatus();
}

absl::Status CheckUnitFits(const Plan& plan, const Limits& limits) {
  for (const Pass& pass : plan.passes) {
    if (UnitsThatFit(pass, 1, limits.slot_bytes) > 0) continue;
    const std::string needed = std::to_string(LayOut(pass, 1).bytes);
    return MakeError(absl::StatusCode::kFailedPrecondition, reason::kUnitTooLarge,
                     "one unit of this scheme takes " + needed + " bytes, more than this server's slot of " +
                         std::to_string(limits.slot_bytes) +
                         ". Choose a smaller block, group or tile, reshape a tensor of very long rows, or ask the "
                         "operator for a larger slot_bytes.",
                     {{"unit_bytes", needed}, {"slot_bytes", std::to_string(limits.slot_bytes)}});
  }
  return absl::OkStatus();
}

const SegmentLayout* FindSegment(const std::vector<SegmentLayout>& segments, std::string_view name) {
  const auto found = std::find_if(segments.begin(), segments.end(), [&](const auto& s) { return s.name == name; });
  return found == segments.end() ? nullptr : &*found;
}

namespace {

bool SpoolsScales(const Plan& plan) {
  return plan.NeedsSpool() && FindSegment(plan.passes[0].outputs, kSpooledScalesSegment) != nullptr;
}

}  // namespace

std::string MissingStatistics(const Plan& plan) {
  if (SpoolsScales(plan)) return "offset";
  return plan.scheme.symmetric ? "amax" : "min and statistics.max";
}

// Errors are summed up while values, codes and final scales are in one place.
absl::Status CheckErrorMetrics(const TensorRequest& request, const Plan& plan) {
  if (!request.error_metrics || !SpoolsScales(plan)) return absl::OkStatus();
  return InvalidArgument(reason::kStatisticNeeded,
                         "error_metrics of a double quantization need its offset from the start. Send "
                         "statistics.offset, or leave error_metrics out.",
                         {{"statistic", "offset"}});
}

}  // namespace quantd::server
