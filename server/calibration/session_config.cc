#include "server/calibration/session_config.h"

#include <algorithm>

#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"

namespace quantd::server {
namespace {

// As PyTorch's observers (MovingAverageMinMaxObserver), NVIDIA's and others call it.
constexpr std::string_view kMovingAverageValues[] = {"moving_average", "moving_average_minmax", "movingaverage", "ema",
                                                     "running_average"};
constexpr std::string_view kMovingAverageFields[] = {"averaging_constant", "momentum", "decay"};

bool MeansMovingAverage(const std::string& field, const std::string& value) {
  const auto is = [](const std::string& text) { return [&text](std::string_view one) { return one == text; }; };
  return std::any_of(std::begin(kMovingAverageFields), std::end(kMovingAverageFields), is(field)) ||
         (field == "collect" &&
          std::any_of(std::begin(kMovingAverageValues), std::end(kMovingAverageValues), is(value)));
}

}  // namespace

absl::StatusOr<StatisticsConfig> ParseSessionConfig(const std::map<std::string, std::string>& fields) {
  for (const auto& [field, value] : fields) {
    if (!MeansMovingAverage(field, value)) continue;
    return InvalidArgument(reason::kInvalidStatisticsConfig,
                           field + "=" + value.substr(0, 64) +
                               " is a moving average. It gives later values more weight, so its result depends on the "
                               "order in which contributions come: states of several streams have no common average, "
                               "and cannot be merged. Use collect=distribution and the range method percentile, which "
                               "leaves rare outliers out as well.",
                           {{"field", field}});
  }
  return ParseStatisticsConfig(fields);
}

}  // namespace quantd::server
