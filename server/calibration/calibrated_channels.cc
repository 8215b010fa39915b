#include "server/calibration/calibrated_channels.h"

#include <algorithm>
#include <string>

#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "kernels/calibrate/ranges.h"
#include "kernels/calibrate/smooth.h"

namespace quantd::server {
namespace {

absl::Status Missing(const std::string& message) {
  return MakeError(absl::StatusCode::kFailedPrecondition, reason::kStatisticsMissing, message);
}

}  // namespace

absl::Status CheckChannelStatistics(const TensorStatistics& statistics, uint64_t channels, bool squares) {
  const StatisticsConfig& config = statistics.config();
  const bool of_channels =
      config.grouping == StatisticsGrouping::kChannel && config.group_size == 1 && config.axis != 0;
  if (!of_channels || (squares && config.collection != StatisticsCollection::kImportance)) {
    return Missing(squares
                       ? "importance is of each channel of the last axis: calibrate with grouping=channel, axis=-1, "
                         "collect=importance."
                       : "smoothing factors are of each channel of the last axis: calibrate with grouping=channel, "
                         "axis=-1.");
  }
  if (statistics.bucket_count() == channels) return absl::OkStatus();
  return Missing("the calibration has " + std::to_string(statistics.bucket_count()) +
                 " channels, and the tensor's last extent is " + std::to_string(channels) +
                 ". Name the activations that this weight is multiplied with.");
}

absl::StatusOr<std::vector<float>> FactorsFrom(const TensorStatistics& activations,
                                               std::span<const TensorStatistics* const> weights, double alpha) {
  std::vector<float> weight_absmax(activations.bucket_count(), 0.0f);
  for (const TensorStatistics* const weight : weights) {
    const std::vector<float> absmax = ChannelAbsmax(*weight);
    std::ranges::transform(weight_absmax, absmax, weight_absmax.begin(),
                           [](float a, float b) { return std::max(a, b); });
  }
  return SmoothingFactors(ChannelAbsmax(activations), weight_absmax, {.alpha = alpha});
}

std::vector<float> ImportanceFrom(const TensorStatistics& activations) {
  const std::vector<double> squares = activations.MeanSquares();
  return {squares.begin(), squares.end()};
}

}  // namespace quantd::server
