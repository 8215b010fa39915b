#include "server/session/error_metrics.h"

#include <cmath>
#include <limits>

namespace quantd::server {

ErrorMetrics ErrorMetricsOf(const ErrorSums& sums) {
  const double error = sums.squared_error.Value();
  ErrorMetrics metrics{.count = sums.count, .max_error = sums.largest_error};
  if (sums.count > 0) metrics.mean_squared_error = error / static_cast<double>(sums.count);
  metrics.snr_db =
      error > 0 ? 10 * std::log10(sums.squared_value.Value() / error) : std::numeric_limits<double>::infinity();
  return metrics;
}

}  // namespace quantd::server
