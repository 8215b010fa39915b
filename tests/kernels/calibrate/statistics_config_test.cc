#include "kernels/calibrate/statistics_config.h"

#include <gtest/gtest.h>

#include "kernels/base/error.h"

namespace quantd {
namespace {

using Fields = std::map<std::string, std::string>;

TEST(StatisticsConfig, NothingMeansADistributionOfTheTensor) {
  const auto config = ParseStatisticsConfig({});
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(*config, StatisticsConfig{});
  EXPECT_EQ(ToFields(*config), (Fields{{"collect", "distribution"}, {"grouping", "tensor"}}));
}

TEST(StatisticsConfig, FieldsGiveTheConfigurationBack) {
  for (const Fields& fields : {Fields{{"collect", "range"}}, Fields{{"grouping", "channel"}, {"axis", "0"}},
                               Fields{{"grouping", "channel"}, {"group_size", "8"}, {"collect", "importance"}},
                               Fields{{"grouping", "group"}, {"group_size", "128"}}}) {
    const auto config = ParseStatisticsConfig(fields);
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_EQ(*ParseStatisticsConfig(ToFields(*config)), *config);
  }
}

TEST(StatisticsConfig, RefusesWhatDoesNotFitAndNamesTheField) {
  const std::pair<Fields, std::string> cases[] = {
      {{{"grouping", "row"}}, "grouping"},
      {{{"collect", "moving_average"}}, "collect"},
      {{{"bins", "2048"}}, "bins"},
      {{{"axis", "1"}}, "axis"},
      {{{"group_size", "2"}}, "group_size"},
      {{{"grouping", "group"}}, "group_size"},
      {{{"grouping", "group"}, {"group_size", "0"}}, "group_size"},
      {{{"grouping", "channel"}, {"group_size", "-1"}}, "group_size"},
      {{{"grouping", "channel"}, {"axis", "16"}}, "axis"},
      {{{"grouping", "channel"}, {"axis", "1x"}}, "axis"},
      {{{"grouping", "channel"}, {"collect", "distribution"}}, "collect"},
  };
  for (const auto& [fields, field] : cases) {
    const auto config = ParseStatisticsConfig(fields);
    ASSERT_FALSE(config.ok()) << field;
    const ErrorDetails details = DetailsOf(config.status());
    EXPECT_EQ(details.reason, "INVALID_STATISTICS_CONFIG");
    ASSERT_EQ(details.metadata.size(), 1);
    EXPECT_EQ(details.metadata[0].second, field);
  }
}

TEST(StatisticsConfig, TheHashIsOfTheCanonicalFields) {
  EXPECT_EQ(ConfigHash({}), ConfigHash(*ParseStatisticsConfig({{"grouping", "tensor"}})));
  EXPECT_NE(ConfigHash({}), ConfigHash(*ParseStatisticsConfig({{"collect", "range"}})));
  EXPECT_EQ(ConfigHash({}), 5884308144296235701u);
}

}  // namespace
}  // namespace quantd
