#include "server/session/region_allocator.h"

#include <gtest/gtest.h>

#include "kernels/scheme/batch_layout.h"

namespace quantd::server {
namespace {

constexpr uint64_t kSlotBytes = 1 << 20;

class RegionAllocatorTest : public ::testing::Test {
 protected:
  SlotPtr NewSlot() {
    return arena_->AcquireOr(account_, [](const SlotPtr&) {});
  }

  const std::shared_ptr<SlotArena> arena_ = SlotArena::Create(kSlotBytes, 2, [](const auto&) {}).value();
  const std::shared_ptr<SlotAccount> account_ = std::make_shared<SlotAccount>(2);
  RegionAllocator regions_;
};

TEST_F(RegionAllocatorTest, WithoutASlotThereIsNothingToShare) { EXPECT_FALSE(regions_.TryShare(1).has_value()); }

TEST_F(RegionAllocatorTest, SmallRegionsShareASlotAtCacheLines) {
  const Region first = regions_.Take(NewSlot(), 100);
  const auto second = regions_.TryShare(1);
  const auto third = regions_.TryShare(200);
  ASSERT_TRUE(second.has_value() && third.has_value());
  EXPECT_EQ(second->slot, first.slot);
  EXPECT_EQ(second->data - first.data, 128);
  EXPECT_EQ(third->data - second->data, static_cast<ptrdiff_t>(kAreaAlignmentBytes));
  EXPECT_EQ(arena_->free_slots(), 1u);
}

TEST_F(RegionAllocatorTest, ARegionMayFillTheSlotToItsLastByte) {
  const Region first = regions_.Take(NewSlot(), 64);
  EXPECT_FALSE(regions_.TryShare(kSlotBytes - 63).has_value());
  EXPECT_TRUE(regions_.TryShare(kSlotBytes - 64).has_value());
  EXPECT_FALSE(regions_.TryShare(1).has_value());
}

TEST_F(RegionAllocatorTest, AnUnalignedEndLeavesNoRoomBehindIt) {
  const Region whole = regions_.Take(NewSlot(), kSlotBytes - 1);
  EXPECT_FALSE(regions_.TryShare(1).has_value());
}

TEST_F(RegionAllocatorTest, TheAllocatorAloneKeepsNoSlot) {
  regions_.Take(NewSlot(), 100);
  EXPECT_EQ(arena_->free_slots(), 2u);
  EXPECT_FALSE(regions_.TryShare(1).has_value());
}

TEST_F(RegionAllocatorTest, AnyRegionKeepsTheSlot) {
  std::optional<Region> first = regions_.Take(NewSlot(), 100);
  std::optional<Region> second = regions_.TryShare(100);
  first.reset();
  EXPECT_EQ(arena_->free_slots(), 1u);
  second.reset();
  EXPECT_EQ(arena_->free_slots(), 2u);
}

TEST_F(RegionAllocatorTest, AFreshSlotBecomesTheSharedOne) {
  const Region first = regions_.Take(NewSlot(), kSlotBytes);
  const Region second = regions_.Take(NewSlot(), 64);
  EXPECT_NE(first.slot, second.slot);
  EXPECT_EQ(regions_.TryShare(64)->slot, second.slot);
}

}  // namespace
}  // namespace quantd::server
