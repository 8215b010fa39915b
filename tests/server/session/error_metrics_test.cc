#include "server/session/error_metrics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace quantd::server {
namespace {

TEST(ErrorMetricsOf, DividesAndComparesTheSums) {
  ErrorSums sums;
  sums.count = 4;
  for (const double error : {0.5, -0.5, 0.0, 1.0}) sums.squared_error.Add(error * error);
  for (const double value : {3.0, 4.0, 0.0, -11.0}) sums.squared_value.Add(value * value);
  sums.largest_error = 1;
  const ErrorMetrics metrics = ErrorMetricsOf(sums);
  EXPECT_EQ(metrics.count, 4u);
  EXPECT_EQ(metrics.mean_squared_error, 1.5 / 4);
  EXPECT_EQ(metrics.max_error, 1);
  EXPECT_DOUBLE_EQ(metrics.snr_db, 10 * std::log10(146 / 1.5));
}

TEST(ErrorMetricsOf, NoErrorAndNoValuesAreInfinitelyGood) {
  const ErrorMetrics none = ErrorMetricsOf({});
  EXPECT_EQ(none.count, 0u);
  EXPECT_EQ(none.mean_squared_error, 0);
  EXPECT_EQ(none.snr_db, std::numeric_limits<double>::infinity());
}

}  // namespace
}  // namespace quantd::server
