#include "server/worker/plan_slots.h"

#include <gtest/gtest.h>

namespace quantd::server {
namespace {

std::vector<std::byte> Description(uint32_t number) {
  return {static_cast<std::byte>(number), static_cast<std::byte>(number >> 8)};
}

TEST(PlanSlots, TellsOfAPlanOnce) {
  PlanSlots slots;
  const auto first = slots.Find(Description(1));
  EXPECT_TRUE(first.is_new);
  const auto again = slots.Find(Description(1));
  EXPECT_FALSE(again.is_new);
  EXPECT_EQ(again.slot, first.slot);
}

TEST(PlanSlots, ReplacesThePlanUsedLongestAgo) {
  PlanSlots slots;
  for (uint32_t i = 0; i < kWorkerPlanSlots; ++i) EXPECT_TRUE(slots.Find(Description(i)).is_new);
  EXPECT_FALSE(slots.Find(Description(0)).is_new);
  const auto newcomer = slots.Find(Description(1000));
  EXPECT_TRUE(newcomer.is_new);
  EXPECT_FALSE(slots.Find(Description(0)).is_new);
  EXPECT_EQ(slots.Find(Description(1)).slot, slots.Find(Description(1)).slot);
  EXPECT_FALSE(slots.Find(Description(1000)).is_new);
  EXPECT_FALSE(slots.Find(Description(3)).is_new);
}

}  // namespace
}  // namespace quantd::server
