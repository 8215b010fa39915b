#include "server/session/slot_arena.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "tests/support/manual_executor.h"

namespace quantd::server {
namespace {

using testing::ManualExecutor;

constexpr uint64_t kSlotBytes = 1 << 20;

class SlotArenaTest : public ::testing::Test {
 protected:
  // Who still waits has a slot and gives it back, one after another: slots keep their arena, and waiters theirs.
  void TearDown() override {
    do {
      slots_.clear();
      executor_.RunAll();
    } while (!slots_.empty());
  }

  std::shared_ptr<SlotArena> MakeArena(uint32_t slots_max, uint32_t slots_per_principal_max = UINT32_MAX) {
    return SlotArena::Create(
               kSlotBytes, slots_max, [this](std::function<void()> work) { executor_.Submit(std::move(work)); },
               slots_per_principal_max)
        .value();
  }
  // Keeps what comes, and remembers that it came.
  auto Keep(const std::string& name) {
    return [this, name](SlotPtr slot) {
      came_.push_back(name);
      slots_.push_back(std::move(slot));
    };
  }
  static std::shared_ptr<SlotAccount> Account(uint32_t slots_max = 8, const Principal& principal = {}) {
    return std::make_shared<SlotAccount>(slots_max, principal);
  }
  static std::function<void(SlotPtr)> Never() {
    return [](const SlotPtr&) { FAIL() << "a slot came to somebody who did not wait"; };
  }

  ManualExecutor executor_;
  std::vector<std::string> came_;
  std::vector<SlotPtr> slots_;
};

TEST_F(SlotArenaTest, SlotsAreDistinctWritableMemory) {
  const auto arena = MakeArena(3);
  const auto account = Account();
  std::vector<SlotPtr> slots;
  for (int i = 0; i < 3; ++i) {
    slots.push_back(arena->AcquireOr(account, Never()));
    ASSERT_NE(slots.back(), nullptr);
    EXPECT_EQ(slots.back()->bytes(), kSlotBytes);
    std::memset(slots.back()->data(), i + 1, kSlotBytes);
  }
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(slots[i]->data()[0], std::byte(i + 1));
    EXPECT_EQ(slots[i]->data()[kSlotBytes - 1], std::byte(i + 1));
  }
  EXPECT_EQ(arena->free_slots(), 0u);
  EXPECT_EQ(account->slots, 3u);
}

TEST_F(SlotArenaTest, TheSlotUsedLastIsLentFirst) {
  const auto arena = MakeArena(3);
  SlotPtr slot = arena->AcquireOr(Account(), Never());
  const std::byte* memory = slot->data();
  slot = nullptr;
  EXPECT_EQ(arena->AcquireOr(Account(), Never())->data(), memory);
}

TEST_F(SlotArenaTest, WaitersAreServedInTheirOrder) {
  const auto arena = MakeArena(1);
  SlotPtr slot = arena->AcquireOr(Account(), Never());
  EXPECT_EQ(arena->AcquireOr(Account(), Keep("first")), nullptr);
  EXPECT_EQ(arena->AcquireOr(Account(), Keep("second")), nullptr);
  slot = nullptr;
  executor_.RunAll();
  EXPECT_THAT(came_, ::testing::ElementsAre("first"));
  slots_.clear();
  executor_.RunAll();
  EXPECT_THAT(came_, ::testing::ElementsAre("first", "second"));
}

TEST_F(SlotArenaTest, ASlotIsHandedOverOnAnotherStackOnly) {
  const auto arena = MakeArena(1);
  SlotPtr slot = arena->AcquireOr(Account(), Never());
  EXPECT_EQ(arena->AcquireOr(Account(), Keep("waiter")), nullptr);
  slot = nullptr;
  EXPECT_TRUE(came_.empty());
  EXPECT_EQ(executor_.waiting(), 1u);
  EXPECT_EQ(arena->free_slots(), 0u) << "the slot is already the waiter's";
  executor_.RunAll();
  EXPECT_THAT(came_, ::testing::ElementsAre("waiter"));
}

TEST_F(SlotArenaTest, NobodyOvertakesASlotOnItsWayToAWaiter) {
  const auto arena = MakeArena(1);
  SlotPtr slot = arena->AcquireOr(Account(), Never());
  EXPECT_EQ(arena->AcquireOr(Account(), Keep("waiter")), nullptr);
  slot = nullptr;
  EXPECT_EQ(arena->AcquireOr(Account(), Keep("latecomer")), nullptr);
  executor_.RunAll();
  EXPECT_THAT(came_, ::testing::ElementsAre("waiter"));
}

TEST_F(SlotArenaTest, AnAccountTakesNoMoreThanItsMaximum) {
  const auto arena = MakeArena(4);
  const auto account = Account(2);
  SlotPtr one = arena->AcquireOr(account, Never());
  SlotPtr two = arena->AcquireOr(account, Never());
  EXPECT_EQ(arena->AcquireOr(account, Keep("third")), nullptr);
  EXPECT_EQ(arena->free_slots(), 2u);
  one = nullptr;
  executor_.RunAll();
  EXPECT_THAT(came_, ::testing::ElementsAre("third"));
  EXPECT_EQ(account->slots, 2u);
}

TEST_F(SlotArenaTest, AWaiterAtItsMaximumHoldsUpNobody) {
  const auto arena = MakeArena(3);
  const auto greedy = Account(1);
  const SlotPtr held = arena->AcquireOr(greedy, Never());
  EXPECT_EQ(arena->AcquireOr(greedy, Keep("greedy")), nullptr);
  EXPECT_NE(arena->AcquireOr(Account(), Never()), nullptr);
}

TEST_F(SlotArenaTest, AReturnedSlotSkipsAWaiterAtItsMaximum) {
  const auto arena = MakeArena(2);
  const auto greedy = Account(1);
  const SlotPtr held = arena->AcquireOr(greedy, Never());
  SlotPtr other = arena->AcquireOr(Account(), Never());
  EXPECT_EQ(arena->AcquireOr(greedy, Keep("greedy")), nullptr);
  EXPECT_EQ(arena->AcquireOr(Account(), Keep("modest")), nullptr);
  other = nullptr;
  executor_.RunAll();
  EXPECT_THAT(came_, ::testing::ElementsAre("modest"));
}

TEST_F(SlotArenaTest, AReturnedSlotGoesToThePrincipalWithTheFewest) {
  const auto arena = MakeArena(3);
  const Principal ann{"ann"};
  SlotPtr one = arena->AcquireOr(Account(1, ann), Never());
  const SlotPtr two = arena->AcquireOr(Account(1, ann), Never());
  const SlotPtr three = arena->AcquireOr(Account(1, ann), Never());
  for (int i = 0; i < 60; ++i) EXPECT_EQ(arena->AcquireOr(Account(1, ann), Keep("ann")), nullptr);
  EXPECT_EQ(arena->AcquireOr(Account(1, {"bob"}), Keep("bob")), nullptr);
  one = nullptr;
  executor_.RunAll();
  EXPECT_THAT(came_, ::testing::ElementsAre("bob"));
}

TEST_F(SlotArenaTest, SlotsAreSharedByWeight) {
  const auto arena = MakeArena(8);
  std::vector<SlotPtr> first;
  const auto others = Account(8, {"others"});
  while (SlotPtr slot = arena->AcquireOr(others, [](const SlotPtr&) {})) first.push_back(std::move(slot));
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(arena->AcquireOr(Account(1, {"ann", 1}), Keep("ann")), nullptr);
    EXPECT_EQ(arena->AcquireOr(Account(1, {"bob", 3}), Keep("bob")), nullptr);
  }
  first.clear();
  executor_.RunAll();
  EXPECT_EQ(std::count(came_.begin(), came_.end(), "ann"), 2);
  EXPECT_EQ(std::count(came_.begin(), came_.end(), "bob"), 6);
}

TEST_F(SlotArenaTest, APrincipalTakesNoMoreThanItsMaximum) {
  const auto arena = MakeArena(4, 3);
  const Principal ann{"ann"};
  const auto account = Account(8, ann);
  std::vector<SlotPtr> slots;
  for (int i = 0; i < 3; ++i) slots.push_back(arena->AcquireOr(Account(8, ann), Never()));
  EXPECT_EQ(arena->AcquireOr(account, Keep("fourth")), nullptr);
  EXPECT_EQ(arena->HoldingsOf(*account).of_account, 0u);
  EXPECT_EQ(arena->HoldingsOf(*account).of_principal, 3u);
  EXPECT_NE(arena->AcquireOr(Account(8, {"bob"}), Never()), nullptr);
  EXPECT_TRUE(came_.empty()) << "bob's slot came back, ann has three";
  slots.pop_back();
  executor_.RunAll();
  EXPECT_THAT(came_, ::testing::ElementsAre("fourth"));
}

TEST_F(SlotArenaTest, ASlotForAWaiterThatIsGoneGoesToTheNext) {
  const auto arena = MakeArena(1);
  SlotPtr slot = arena->AcquireOr(Account(), Never());
  EXPECT_EQ(arena->AcquireOr(Account(), [](const SlotPtr&) {}), nullptr);  // does not want it any more
  EXPECT_EQ(arena->AcquireOr(Account(), Keep("next")), nullptr);
  slot = nullptr;
  executor_.RunAll();
  EXPECT_THAT(came_, ::testing::ElementsAre("next"));
  slots_.clear();
  EXPECT_EQ(arena->free_slots(), 1u);
}

TEST_F(SlotArenaTest, AHandOverThatIsNeverRunGivesTheSlotBack) {
  const auto arena = MakeArena(1);
  SlotPtr slot = arena->AcquireOr(Account(), Never());
  EXPECT_EQ(arena->AcquireOr(Account(), Never()), nullptr);
  slot = nullptr;
  EXPECT_EQ(arena->free_slots(), 0u);
  executor_ = ManualExecutor();
  EXPECT_EQ(arena->free_slots(), 1u);
}

TEST_F(SlotArenaTest, AfterCloseNobodyIsLookedFor) {
  const auto arena = MakeArena(2);
  SlotPtr one = arena->AcquireOr(Account(), Never());
  SlotPtr two = arena->AcquireOr(Account(), Never());
  EXPECT_EQ(arena->AcquireOr(Account(), Never()), nullptr);
  arena->Close();
  one = nullptr;
  EXPECT_EQ(executor_.waiting(), 0u);
  EXPECT_EQ(arena->free_slots(), 1u);
  EXPECT_EQ(arena->AcquireOr(Account(), Never()), nullptr);
}

TEST_F(SlotArenaTest, ASlotOutlivesItsOwnerAndItsAccount) {
  auto arena = MakeArena(2);
  const std::weak_ptr<SlotArena> alive = arena;
  SlotPtr slot = arena->AcquireOr(Account(), Never());
  arena->Close();
  arena = nullptr;
  EXPECT_FALSE(alive.expired());
  std::memset(slot->data(), 7, kSlotBytes);
  slot = nullptr;
  EXPECT_TRUE(alive.expired());
}

TEST_F(SlotArenaTest, MemoryThatCannotBeHadIsAnError) {
  const auto executor = [](const std::function<void()>&) {};
  EXPECT_FALSE(SlotArena::Create(UINT64_MAX / 2, 4, executor).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(SlotArena::Create(uint64_t{1} << 61, 2, executor).status()));
}

}  // namespace
}  // namespace quantd::server
