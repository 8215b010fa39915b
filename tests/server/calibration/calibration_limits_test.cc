#include "server/calibration/calibration_limits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quantd::server {
namespace {

using ::testing::HasSubstr;

TEST(CalibrationLimits, TheDefaultsAreValid) { EXPECT_TRUE(Validate(CalibrationLimits()).ok()); }

TEST(CalibrationLimits, ARefusalNamesTheField) {
  const auto message = [](const CalibrationLimits& limits) { return std::string(Validate(limits).message()); };
  EXPECT_THAT(message({.session_bytes_max = 1 << 10}), HasSubstr("session_bytes_max"));
  EXPECT_THAT(message({.session_bytes_max = 2 << 20, .bytes_max = 1 << 20}), HasSubstr("session_bytes_max"));
  EXPECT_THAT(message({.sessions_max = 0}), HasSubstr("sessions_max"));
  EXPECT_THAT(message({.sessions_max = 3, .sessions_per_principal_max = 4}), HasSubstr("sessions_per_principal_max"));
  EXPECT_THAT(message({.ttl = absl::ZeroDuration()}), HasSubstr("ttl"));
}

}  // namespace
}  // namespace quantd::server
