#include "server/session/load_budget.h"

#include <gtest/gtest.h>

#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"

namespace quantd::server {
namespace {

const Principal kAnn{"ann", 1};
const Principal kBob{"bob", 3};
constexpr uint64_t kMiB = 1 << 20;
constexpr absl::Duration kForever = absl::InfiniteDuration();

constexpr Limits kLimits = {.load_bytes_max = 100 * kMiB, .load_bytes_per_principal_max = 60 * kMiB};

std::string ReasonOf(const absl::Status& status) { return DetailsOf(status).reason; }

std::string MetadataOf(const absl::Status& status, const std::string& key) {
  for (const auto& [name, value] : DetailsOf(status).metadata) {
    if (name == key) return value;
  }
  return "";
}

TEST(LoadBudget, CountsWhatIsNotYetConsumed) {
  LoadBudget budget(kLimits, 1);
  {
    auto load = budget.Enter(kAnn, 10 * kMiB, kForever);
    ASSERT_TRUE(load.ok()) << load.status();
    EXPECT_EQ(budget.bytes(), 10 * kMiB);
    load->Consume(4 * kMiB);
    EXPECT_EQ(budget.bytes(), 6 * kMiB);
    const LoadBudget::Load moved = *std::move(load);
    EXPECT_EQ(budget.bytes(), 6 * kMiB);
  }
  EXPECT_EQ(budget.bytes(), 0u);
}

TEST(LoadBudget, APrincipalsLimitIsItsOwnFault) {
  LoadBudget budget(kLimits, 1);
  auto own = budget.Enter(kAnn, 60 * kMiB, kForever);
  const auto refused = budget.Enter(kAnn, 1, kForever);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(refused.status()), reason::kPrincipalLoad);
  EXPECT_EQ(MetadataOf(refused.status(), "load_bytes"), std::to_string(60 * kMiB));
  EXPECT_TRUE(budget.Enter(kBob, 1, kForever).ok()) << "others come in";
  own->Consume(1);
  EXPECT_TRUE(budget.Enter(kAnn, 1, kForever).ok());
}

TEST(LoadBudget, TheServersLimitIsTheServersFault) {
  LoadBudget budget(kLimits, 1);
  const auto one = budget.Enter(kAnn, 50 * kMiB, kForever);
  const auto other = budget.Enter(kBob, 50 * kMiB, kForever);
  const auto refused = budget.Enter(kAnn, 1, kForever);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReasonOf(refused.status()), reason::kServerLoad);
  EXPECT_NE(MetadataOf(refused.status(), kRetryDelayKey), "");
}

TEST(LoadBudget, ATensorLargerThanEveryLimitComesInWhenThereIsRoomForAny) {
  LoadBudget budget(kLimits, 1);
  EXPECT_TRUE(budget.Enter(kAnn, 1000 * kMiB, kForever).ok());
}

TEST(LoadBudget, TheQueueIsAsLongAsItsBytesTakeAllThreads) {
  LoadBudget budget(kLimits, 2);
  const auto load = budget.Enter(kAnn, 50 * kMiB, kForever);
  EXPECT_EQ(budget.QueueTime(kAnn), absl::ZeroDuration()) << "nothing is known of the speed";
  budget.Observe(kMiB, absl::Milliseconds(100));
  EXPECT_EQ(budget.QueueTime(kAnn), absl::Milliseconds(2500));
  EXPECT_EQ(budget.QueueTime(kBob), absl::ZeroDuration()) << "bob's turn comes at once";
}

TEST(LoadBudget, ThePartOfOthersMakesTheQueueLonger) {
  LoadBudget budget(kLimits, 1);
  const auto own = budget.Enter(kAnn, 20 * kMiB, kForever);
  budget.Observe(kMiB, absl::Milliseconds(100));
  EXPECT_EQ(budget.QueueTime(kAnn), absl::Seconds(2));
  const auto other = budget.Enter(kBob, kMiB, kForever);
  EXPECT_EQ(budget.QueueTime(kAnn), absl::Seconds(8)) << "a quarter of the time";
}

TEST(LoadBudget, ADeadlineShorterThanTheQueueIsRefusedAtOnce) {
  LoadBudget budget(kLimits, 1);
  budget.Observe(kMiB, absl::Milliseconds(100));
  const auto load = budget.Enter(kAnn, 20 * kMiB, absl::Milliseconds(1));
  ASSERT_TRUE(load.ok()) << "there was no queue";
  EXPECT_TRUE(budget.Enter(kAnn, 1, absl::Seconds(2)).ok());
  const auto refused = budget.Enter(kAnn, 1, absl::Milliseconds(1999));
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReasonOf(refused.status()), reason::kQueueTooLong);
  EXPECT_EQ(MetadataOf(refused.status(), "queue_ms"), "2000");
  EXPECT_TRUE(budget.Enter(kBob, 1, absl::Milliseconds(1)).ok()) << "not his queue";
}

TEST(LoadBudget, TheSpeedIsThatOfLate) {
  LoadBudget budget(kLimits, 1);
  const auto load = budget.Enter(kAnn, 10 * kMiB, kForever);
  budget.Observe(100 * kMiB, absl::Seconds(1));
  for (int i = 0; i < 100; ++i) budget.Observe(kMiB, absl::Seconds(1));
  EXPECT_NEAR(absl::ToDoubleSeconds(budget.QueueTime(kAnn)), 10, 0.1);
}

TEST(LoadBudget, WhatDevicesComputeMakesTheQueueShorter) {
  LoadBudget budget(kLimits, 1);
  const auto load = budget.Enter(kAnn, 10 * kMiB, kForever);
  budget.Observe(kMiB, absl::Seconds(1));
  budget.Observe(9 * kMiB, absl::ZeroDuration());
  EXPECT_EQ(budget.QueueTime(kAnn), absl::Seconds(1));
}

TEST(RetryDelays, AreSpreadAroundTheQueueAndBounded) {
  RetryDelays delays;
  int64_t least = INT64_MAX;
  int64_t most = 0;
  for (int i = 0; i < 100; ++i) {
    const int64_t delay_ms = std::stoll(delays.Next(absl::Seconds(10)));
    least = std::min(least, delay_ms);
    most = std::max(most, delay_ms);
  }
  EXPECT_NEAR(static_cast<double>(least), 5000, 200);
  EXPECT_NEAR(static_cast<double>(most), 15000, 200);
  EXPECT_GE(std::stoll(delays.Next(absl::ZeroDuration())), absl::ToInt64Milliseconds(kRetryDelayMin / 2));
  EXPECT_LE(std::stoll(delays.Next(absl::Hours(1))), absl::ToInt64Milliseconds(kRetryDelayMax * 3 / 2));
}

}  // namespace
}  // namespace quantd::server
