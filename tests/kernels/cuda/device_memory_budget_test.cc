#include "kernels/cuda/device_memory_budget.h"

#include <gtest/gtest.h>

namespace quantd {
namespace {

constexpr uint64_t kGranule = DeviceMemoryBudget::kGranuleBytes;

TEST(DeviceMemoryBudget, CountsWhatTheDriverTakes) {
  DeviceMemoryBudget budget(3 * kGranule);
  EXPECT_TRUE(budget.TryTake(1));
  EXPECT_EQ(budget.taken_bytes(), kGranule);
  EXPECT_TRUE(budget.TryTake(kGranule + 1));
  EXPECT_EQ(budget.taken_bytes(), 3 * kGranule);
}

TEST(DeviceMemoryBudget, TakesNothingBeyondItsEnd) {
  DeviceMemoryBudget budget(3 * kGranule - 1);
  EXPECT_TRUE(budget.TryTake(2 * kGranule));
  EXPECT_FALSE(budget.TryTake(1)) << "the driver would take a whole granule";
  EXPECT_FALSE(budget.TryTake(UINT64_MAX));
  EXPECT_EQ(budget.taken_bytes(), 2 * kGranule);
  budget.GiveBack(2 * kGranule);
  EXPECT_TRUE(budget.TryTake(1));
}

}  // namespace
}  // namespace quantd
