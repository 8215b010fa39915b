#include "server/calibration/session_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"

namespace quantd::server {
namespace {

using ::testing::HasSubstr;

TEST(SessionConfig, NothingMeansTheDistributionOfTheTensor) {
  const auto config = ParseSessionConfig({});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->grouping, StatisticsGrouping::kTensor);
  EXPECT_EQ(config->collection, StatisticsCollection::kDistribution);
}

TEST(SessionConfig, AMovingAverageIsRefusedWithTheReasonWhyItCannotMerge) {
  const std::map<std::string, std::string> averages[] = {
      {{"collect", "moving_average"}}, {{"collect", "ema"}}, {{"averaging_constant", "0.01"}}, {{"momentum", "0.9"}}};
  for (const auto& fields : averages) {
    const absl::Status status = ParseSessionConfig(fields).status();
    EXPECT_EQ(DetailsOf(status).reason, reason::kInvalidStatisticsConfig);
    EXPECT_THAT(std::string(status.message()), HasSubstr("cannot be merged"));
  }
}

TEST(SessionConfig, AnUnknownFieldIsRefused) {
  EXPECT_EQ(DetailsOf(ParseSessionConfig({{"colour", "red"}}).status()).reason, reason::kInvalidStatisticsConfig);
}

}  // namespace
}  // namespace quantd::server
