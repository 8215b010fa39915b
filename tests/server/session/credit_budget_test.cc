#include "server/session/credit_budget.h"

#include <gtest/gtest.h>

#include <utility>

namespace quantd::server {
namespace {

TEST(CreditBudget, AWindowIsAQuarterOfWhatIsLeftWithinItsBounds) {
  CreditBudget budget(1000);
  const auto wide = budget.Take(10, 200);
  EXPECT_EQ(wide.bytes(), 200u);
  const auto quarter = budget.Take(10, 500);
  EXPECT_EQ(quarter.bytes(), 200u);
  const auto narrower = budget.Take(10, 500);
  EXPECT_EQ(narrower.bytes(), 150u);
  EXPECT_EQ(budget.bytes_granted(), 550u);
}

TEST(CreditBudget, EveryTensorGetsWhatItNeedsEvenBeyondTheBudget) {
  CreditBudget budget(100);
  const auto first = budget.Take(90, 500);
  const auto second = budget.Take(90, 500);
  const auto third = budget.Take(90, 500);
  EXPECT_EQ(third.bytes(), 90u);
  EXPECT_EQ(budget.bytes_granted(), 270u);
}

TEST(CreditBudget, AGrantComesBackOnceHoweverItMoves) {
  CreditBudget budget(1000);
  {
    auto grant = budget.Take(1, 100);
    const auto moved = std::move(grant);
    EXPECT_EQ(moved.bytes(), 100u);
    EXPECT_EQ(budget.bytes_granted(), 100u);
  }
  EXPECT_EQ(budget.bytes_granted(), 0u);
}

}  // namespace
}  // namespace quantd::server
