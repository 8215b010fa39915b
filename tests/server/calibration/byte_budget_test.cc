#include "server/calibration/byte_budget.h"

#include <gtest/gtest.h>

namespace quantd::server {
namespace {

TEST(ByteBudget, GivesUpToItsLimitAndTakesBack) {
  ByteBudget budget(100);
  auto part = budget.Reserve(60);
  ASSERT_TRUE(part.has_value());
  EXPECT_FALSE(budget.Reserve(41).has_value());
  EXPECT_TRUE(budget.Reserve(40).has_value());  // and goes again
  EXPECT_EQ(budget.bytes_reserved(), 60u);
  part.reset();
  EXPECT_EQ(budget.bytes_reserved(), 0u);
}

TEST(ByteBudget, APartCountsInTheWholeToo) {
  ByteBudget whole(100);
  ByteBudget one(80, &whole);
  ByteBudget other(80, &whole);
  const auto of_one = one.Reserve(70);
  EXPECT_FALSE(other.Reserve(31).has_value());
  EXPECT_EQ(other.bytes_reserved(), 0u);
  const auto of_other = other.Reserve(30);
  EXPECT_EQ(whole.bytes_reserved(), 100u);
}

TEST(ReservedBytes, ShrinkAndJoin) {
  ByteBudget budget(100);
  ReservedBytes all = *budget.Reserve(50);
  all.ShrinkTo(20);
  EXPECT_EQ(budget.bytes_reserved(), 20u);
  all.Add(*budget.Reserve(5));
  EXPECT_EQ(all.bytes(), 25u);
  all = ReservedBytes();
  EXPECT_EQ(budget.bytes_reserved(), 0u);
}

}  // namespace
}  // namespace quantd::server
