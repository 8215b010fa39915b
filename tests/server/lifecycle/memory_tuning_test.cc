#include "server/lifecycle/memory_tuning.h"

#include <gtest/gtest.h>

namespace quantd::server {
namespace {

TEST(TrimPolicy, GivesBackNothingWhileStreamsAreOpen) {
  TrimPolicy policy;
  EXPECT_FALSE(policy.IsDue(1, kTrimFreeBytesMin));
  EXPECT_TRUE(policy.IsDue(0, kTrimFreeBytesMin));
}

TEST(TrimPolicy, LeavesALittleAlone) {
  TrimPolicy policy;
  EXPECT_FALSE(policy.IsDue(0, kTrimFreeBytesMin - 1));
}

TEST(TrimPolicy, DoesNotRepeatItselfUntilSomethingHasChanged) {
  TrimPolicy policy;
  EXPECT_TRUE(policy.IsDue(0, 2 * kTrimFreeBytesMin));
  EXPECT_FALSE(policy.IsDue(0, 2 * kTrimFreeBytesMin));
  EXPECT_TRUE(policy.IsDue(0, 3 * kTrimFreeBytesMin));
}

TEST(IdleTrimmer, EndsWithoutWaitingForItsInterval) {
  const absl::Time start = absl::Now();
  {
    const IdleTrimmer trimmer([] { return 0u; });
  }
  EXPECT_LT(absl::Now() - start, kTrimInterval);
}

}  // namespace
}  // namespace quantd::server
