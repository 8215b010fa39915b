#include "server/worker/restart_policy.h"

#include <gtest/gtest.h>

namespace quantd::server {
namespace {

constexpr absl::Duration kNever = absl::ZeroDuration();

TEST(RestartPolicy, WaitsTwiceAsLongEachTimeUpToAMaximum) {
  RestartPolicy policy({.first_delay = absl::Seconds(1), .delay_max = absl::Seconds(3), .losses_max = 10});
  EXPECT_EQ(policy.AfterLoss(LossKind::kFault, kNever), absl::Seconds(1));
  EXPECT_EQ(policy.AfterLoss(LossKind::kFault, kNever), absl::Seconds(2));
  EXPECT_EQ(policy.AfterLoss(LossKind::kFault, kNever), absl::Seconds(3));
  EXPECT_EQ(policy.AfterLoss(LossKind::kFault, kNever), absl::Seconds(3));
}

TEST(RestartPolicy, GivesUpInACrashLoop) {
  RestartPolicy policy({.losses_max = 2});
  EXPECT_TRUE(policy.AfterLoss(LossKind::kFault, kNever).has_value());
  EXPECT_TRUE(policy.AfterLoss(LossKind::kFault, kNever).has_value());
  EXPECT_FALSE(policy.AfterLoss(LossKind::kFault, kNever).has_value());
}

TEST(RestartPolicy, ForgetsOldLossesOfAWorkerThatServedForLong) {
  RestartPolicy policy({.first_delay = absl::Seconds(1), .healthy_after = absl::Seconds(60), .losses_max = 1});
  for (int i = 0; i < 5; ++i) EXPECT_EQ(policy.AfterLoss(LossKind::kFault, absl::Seconds(60)), absl::Seconds(1));
  EXPECT_FALSE(policy.AfterLoss(LossKind::kFault, absl::Seconds(59)).has_value());
}

TEST(RestartPolicy, WaitsForMemoryForEver) {
  RestartPolicy policy({.delay_max = absl::Seconds(2), .losses_max = 1});
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(policy.AfterLoss(LossKind::kNoMemory, kNever).has_value());
}

TEST(RestartPolicy, DoesNotLookForAProgramThatIsNotThere) {
  EXPECT_FALSE(RestartPolicy({}).AfterLoss(LossKind::kCannotStart, kNever).has_value());
}

}  // namespace
}  // namespace quantd::server
