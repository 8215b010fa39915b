#include "server/worker/token_bucket.h"

#include <gtest/gtest.h>

namespace quantd::server {
namespace {

constexpr absl::Time kStart = absl::FromUnixSeconds(1000);

TEST(TokenBucket, WithoutALimitEverythingPasses) {
  TokenBucket bucket(0);
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(bucket.TryTake(UINT64_MAX, kStart));
}

TEST(TokenBucket, LetsThroughWhatFlowsIn) {
  TokenBucket bucket(100);
  EXPECT_TRUE(bucket.TryTake(100, kStart));
  EXPECT_FALSE(bucket.TryTake(1, kStart));
  EXPECT_TRUE(bucket.TryTake(50, kStart + absl::Milliseconds(500)));
  EXPECT_FALSE(bucket.TryTake(1, kStart + absl::Milliseconds(500)));
}

TEST(TokenBucket, WhatIsTooLargePassesAndIsPaidForAfterwards) {
  TokenBucket bucket(100);
  EXPECT_TRUE(bucket.TryTake(300, kStart));
  EXPECT_FALSE(bucket.TryTake(1, kStart + absl::Seconds(2)));
  EXPECT_TRUE(bucket.TryTake(1, kStart + absl::Milliseconds(2500)));
}

TEST(TokenBucket, SavesNoMoreThanOneSecond) {
  TokenBucket bucket(100);
  EXPECT_TRUE(bucket.TryTake(100, kStart));
  EXPECT_TRUE(bucket.TryTake(100, kStart + absl::Hours(1)));
  EXPECT_FALSE(bucket.TryTake(1, kStart + absl::Hours(1)));
}

}  // namespace
}  // namespace quantd::server
