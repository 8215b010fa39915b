#include "server/session/credit_budget.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace quantd::server {
namespace {

const Principal kAnn{"ann", 1};
const Principal kBob{"bob", 3};

TEST(CreditBudget, AWindowIsAQuarterOfWhatIsLeftWithinItsBounds) {
  CreditBudget budget(1600);  // of which a principal has at most 1200
  const auto wide = budget.Take(kAnn, 10, 200);
  EXPECT_EQ(wide.bytes(), 200u);
  const auto quarter = budget.Take(kAnn, 10, 500);
  EXPECT_EQ(quarter.bytes(), 250u);
  const auto narrower = budget.Take(kAnn, 10, 500);
  EXPECT_EQ(narrower.bytes(), 187u);
  EXPECT_EQ(budget.bytes_granted(), 637u);
}

TEST(CreditBudget, APrincipalAloneLeavesAQuarterToTheNext) {
  CreditBudget budget(1600);
  std::vector<CreditBudget::Grant> grants;
  for (int i = 0; i < 100; ++i) grants.push_back(budget.Take(kAnn, 1, 500));
  EXPECT_GE(budget.Take(kBob, 1, 500).bytes(), 75u);
}

TEST(CreditBudget, PrincipalsHaveTheirPartsByWeight) {
  CreditBudget budget(1600);
  const auto of_bob = budget.Take(kBob, 10, 16);
  std::vector<CreditBudget::Grant> of_ann;
  uint64_t bytes_of_ann = 0;
  for (int i = 0; i < 60; ++i) {
    of_ann.push_back(budget.Take(kAnn, 0, 500));
    bytes_of_ann += of_ann.back().bytes();
  }
  EXPECT_LE(bytes_of_ann, 400u) << "a quarter";
  EXPECT_GE(bytes_of_ann, 390u);
  EXPECT_EQ(budget.Take(kBob, 10, 500).bytes(), (1200u - 16) / 4);
}

TEST(CreditBudget, WhoHasNoWindowsHasNoPart) {
  CreditBudget budget(1600);
  {
    const auto gone = budget.Take(kBob, 10, 500);
  }
  EXPECT_EQ(budget.Take(kAnn, 10, 500).bytes(), 300u);
}

TEST(CreditBudget, EveryTensorGetsWhatItNeedsEvenBeyondTheBudget) {
  CreditBudget budget(100);
  const auto first = budget.Take(kAnn, 90, 500);
  const auto second = budget.Take(kAnn, 90, 500);
  const auto third = budget.Take(kAnn, 90, 500);
  EXPECT_EQ(third.bytes(), 90u);
  EXPECT_EQ(budget.bytes_granted(), 270u);
}

TEST(CreditBudget, AGrantComesBackOnceHoweverItMoves) {
  CreditBudget budget(1000);
  {
    auto grant = budget.Take(kAnn, 1, 100);
    const auto moved = std::move(grant);
    EXPECT_EQ(moved.bytes(), 100u);
    EXPECT_EQ(budget.bytes_granted(), 100u);
  }
  EXPECT_EQ(budget.bytes_granted(), 0u);
}

}  // namespace
}  // namespace quantd::server
