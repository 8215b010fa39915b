#include "kernels/calibrate/weight_search.h"

#include <algorithm>
#include <cmath>

#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "kernels/calibrate/reproducible_log.h"
#include "kernels/calibrate/target_levels.h"
#include "kernels/cpu/float_environment.h"

namespace quantd {
namespace {

double Power(double magnitude, double norm) {
  if (norm == 2) return magnitude * magnitude;
  // Below the smallest normal float its power is nothing beside any other.
  return magnitude < 0x1p-126 ? 0 : ReproduciblePower(magnitude, norm);
}

}  // namespace

std::vector<float> ClipCandidates(double shrink, uint32_t steps) {
  std::vector<float> candidates;
  for (uint32_t i = 0; i < steps; ++i) candidates.push_back(static_cast<float>(1 - shrink * i / steps));
  return candidates;
}

absl::StatusOr<ClipResult> FindBestClip(std::span<const float> run, std::span<const float> importance,
                                        std::span<const float> candidates, const ClipSearchOptions& options) {
  const ScopedFloatEnvironment environment;
  const auto is_ratio = [](float ratio) { return ratio > 0 && ratio <= 1; };
  if (candidates.empty() || !std::ranges::all_of(candidates, is_ratio) ||
      (!importance.empty() && importance.size() != run.size()) || !CanTarget(options.target, options.symmetric) ||
      !(options.norm > 0 && options.norm <= 7)) {
    return InvalidArgument(reason::kInvalidRangeRequest,
                           "a clip search needs candidates in (0, 1], an importance for each value or none, an integer "
                           "or small float (asymmetric: an integer), and a norm in (0, 7]");
  }
  float lowest = 0;
  float highest = 0;
  for (const float value : run) {
    lowest = std::min(lowest, value);
    highest = std::max(highest, value);
  }
  if (options.symmetric) highest = std::max(highest, -lowest);
  const auto error_of = [&](float ratio) {
    const TargetScale scale = ScaleFor(options.target, options.symmetric, lowest * ratio, highest * ratio);
    double error = 0;
    for (size_t i = 0; i < run.size(); ++i) {
      const double difference =
          static_cast<double>(run[i]) - FakeQuantized(options.target, options.symmetric, scale, run[i]);
      error += Power(std::fabs(difference), options.norm) * (importance.empty() ? 1.0 : importance[i]);
    }
    return error;
  };
  ClipResult best{.unclipped_error = error_of(1)};
  best.ratio = candidates.front();
  best.error = error_of(best.ratio);
  for (const float ratio : candidates.subspan(1)) {
    const double error = error_of(ratio);
    if (error >= best.error) continue;
    best.ratio = ratio;
    best.error = error;
  }
  return best;
}

}  // namespace quantd
