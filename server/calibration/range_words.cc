#include "server/calibration/range_words.h"

#include <algorithm>

#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "kernels/base/status_macros.h"
#include "kernels/format/format_list.h"
#include "server/calibration/calibration_errors.h"

namespace quantd::server {
namespace {

absl::StatusOr<Element> ElementNamed(const std::string& name) {
  const auto* const found =
      std::find_if(kFormats.begin(), kFormats.end(), [&](const FormatInfo& format) { return format.name == name; });
  if (found != kFormats.end()) return found->element;
  std::string names;
  for (const FormatInfo& format : kFormats) names += (names.empty() ? "" : ", ") + std::string(format.name);
  return InvalidArgument(reason::kInvalidRangeRequest,
                         "there is no element " + InMessage(name) + " to find a range for; known: " + names + ".");
}

}  // namespace

absl::StatusOr<RangeRequest> ParseRangeWords(const RangeWords& words) {
  RangeRequest request;
  if (!words.method.empty()) {
    const std::optional<RangeMethod> method = RangeMethodNamed(words.method);
    if (!method.has_value()) {
      return InvalidArgument(reason::kInvalidRangeRequest, "there is no range method " + InMessage(words.method) +
                                                               "; choose minmax, percentile, mse or entropy.");
    }
    request.method = *method;
  }
  if (words.percentile.has_value()) {
    if (request.method != RangeMethod::kPercentile) {
      return InvalidArgument(reason::kInvalidRangeRequest,
                             "a percentile is only for the method percentile. Leave it out, or choose that method.");
    }
    request.percentile = *words.percentile;
  }
  if (!words.target.empty()) {
    QUANTD_ASSIGN_OR_RETURN(request.target, ElementNamed(words.target));
  }
  request.symmetric = words.symmetric.value_or(request.symmetric);
  return request;
}

}  // namespace quantd::server
