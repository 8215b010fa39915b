#include "server/lifecycle/process_identity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/time/clock.h"

namespace quantd::server {
namespace {

TEST(ProcessIdentity, HasARandomNameAndTheTimeOfNow) {
  const auto before = static_cast<uint64_t>(absl::GetCurrentTimeNanos());
  const ProcessIdentity one = MakeProcessIdentity();
  const ProcessIdentity other = MakeProcessIdentity();
  EXPECT_THAT(one.server_instance, ::testing::MatchesRegex("[0-9a-f]+"));
  EXPECT_EQ(one.server_instance.size(), 32u);
  EXPECT_NE(one.server_instance, other.server_instance);
  EXPECT_GE(one.epoch, before);
  EXPECT_LE(one.epoch, static_cast<uint64_t>(absl::GetCurrentTimeNanos()));
}

}  // namespace
}  // namespace quantd::server
