#include "server/worker/plan_slots.h"

#include <gtest/gtest.h>

#include "tests/support/tensor_runner.h"

namespace quantd::server {
namespace {

Plan PlanOf(uint64_t elements) {
  return testing::PlanOrDie({"bnb-nf4"}, Direction::kQuantize, DataType::kFloat32, {elements});
}

TEST(PlanSlots, TellsOfAPlanOnce) {
  PlanSlots slots;
  const auto first = slots.Find(PlanOf(2));
  EXPECT_TRUE(first.is_new);
  const auto again = slots.Find(PlanOf(2));
  EXPECT_FALSE(again.is_new);
  EXPECT_EQ(again.slot, first.slot);
}

TEST(PlanSlots, KnowsPlansByAllThatTheyAreMadeFrom) {
  PlanSlots slots;
  const std::vector<uint64_t> shape = {4, 64};
  std::vector<Plan> plans;
  for (const char* const preset : {"bnb-nf4", "ct-nvfp4"}) {
    for (const auto dtype : {DataType::kFloat32, DataType::kBFloat16}) {
      plans.push_back(testing::PlanOrDie({preset}, Direction::kQuantize, dtype, shape));
      plans.push_back(testing::PlanOrDie({preset}, Direction::kDequantize, dtype, shape));
    }
  }
  plans.push_back(
      testing::PlanOrDie({"bnb-nf4", {{"block_size", "128"}}}, Direction::kQuantize, DataType::kFloat32, shape));
  plans.push_back(MakePlan(plans[4].scheme, Direction::kQuantize, DataType::kFloat32, shape, {.amax = 1}).value());
  for (const Plan& plan : plans) EXPECT_TRUE(slots.Find(plan).is_new) << plan.scheme.preset;
  for (const Plan& plan : plans) EXPECT_FALSE(slots.Find(plan).is_new) << plan.scheme.preset;
}

TEST(PlanSlots, ReplacesThePlanUsedLongestAgo) {
  PlanSlots slots;
  for (uint32_t i = 0; i < kWorkerPlanSlots; ++i) EXPECT_TRUE(slots.Find(PlanOf(i + 1)).is_new);
  EXPECT_FALSE(slots.Find(PlanOf(1)).is_new);
  const auto newcomer = slots.Find(PlanOf(1001));
  EXPECT_TRUE(newcomer.is_new);
  EXPECT_FALSE(slots.Find(PlanOf(1)).is_new);
  EXPECT_EQ(slots.Find(PlanOf(2)).slot, slots.Find(PlanOf(2)).slot);
  EXPECT_FALSE(slots.Find(PlanOf(1001)).is_new);
  EXPECT_FALSE(slots.Find(PlanOf(4)).is_new);
}

}  // namespace
}  // namespace quantd::server
