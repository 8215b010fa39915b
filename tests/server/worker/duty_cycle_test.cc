#include "server/worker/duty_cycle.h"

#include <gtest/gtest.h>

#include <vector>

namespace quantd::server {
namespace {

const absl::Time kStart = absl::FromUnixSeconds(1'000'000);

absl::Time After(int64_t milliseconds) { return kStart + absl::Milliseconds(milliseconds); }

// Part of ten seconds with a unit in flight, for one who begins the next unit as soon as it may, at most `at_once`.
double PartOfTheTime(DutyCycle duty, int64_t unit_ms, int at_once) {
  int64_t busy_ms = 0;
  std::vector<int64_t> ends;
  for (int64_t now = 0; now < 10'000; ++now) {
    std::erase_if(ends, [&](int64_t end) {
      if (end == now) duty.End(After(now));
      return end == now;
    });
    while (static_cast<int>(ends.size()) < at_once && duty.MayBegin(After(now))) {
      duty.Begin(After(now));
      ends.push_back(now + unit_ms);
    }
    busy_ms += !ends.empty();
  }
  return static_cast<double>(busy_ms) / 10'000;
}

TEST(DutyCycle, HundredPercentIsNoLimit) { EXPECT_EQ(PartOfTheTime(DutyCycle(100), 7, 4), 1); }

TEST(DutyCycle, WorksItsPartOfTheTimeHoweverManyUnitsAtOnce) {
  for (const uint32_t percent : {10, 25, 50, 90}) {
    for (const int at_once : {1, 4}) {
      // What it may save up for a second comes on top.
      EXPECT_NEAR(PartOfTheTime(DutyCycle(percent), 5, at_once), percent / 100.0, percent / 1000.0 + 0.01) << percent;
    }
  }
}

TEST(DutyCycle, ALongUnitIsPaidForAfterwards) {
  DutyCycle duty(50);
  EXPECT_TRUE(duty.MayBegin(After(0)));
  duty.Begin(After(0));
  EXPECT_FALSE(duty.MayBegin(After(2000))) << "half a second was there, one was used up";
  duty.End(After(2000));
  EXPECT_FALSE(duty.MayBegin(After(3000)));
  EXPECT_TRUE(duty.MayBegin(After(3001)));
}

TEST(DutyCycle, AnIdleDeviceSavesUpOneSecondAtMost) {
  DutyCycle duty(50);
  EXPECT_TRUE(duty.MayBegin(After(3'600'000)));
  duty.Begin(After(3'600'000));
  EXPECT_TRUE(duty.MayBegin(After(3'600'999)));
  EXPECT_FALSE(duty.MayBegin(After(3'601'001)));
}

}  // namespace
}  // namespace quantd::server
