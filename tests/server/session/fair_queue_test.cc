#include "server/session/fair_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>
#include <vector>

namespace quantd::server {
namespace {

const Principal kAnn{"ann", 1};
const Principal kBob{"bob", 3};

std::vector<std::string> PopAll(FairQueue<std::string>& queue) {
  std::vector<std::string> order;
  while (!queue.empty()) order.push_back(queue.Pop());
  return order;
}

TEST(FairQueue, OnePrincipalIsServedInItsOrder) {
  FairQueue<std::string> queue;
  for (const std::string name : {"1", "2", "3"}) queue.Push({kAnn}, name);
  EXPECT_EQ(queue.size(), 3u);
  EXPECT_THAT(PopAll(queue), ::testing::ElementsAre("1", "2", "3"));
}

TEST(FairQueue, PrincipalsOfOneWeightTakeTurnsHoweverMuchOneHasQueued) {
  FairQueue<std::string> queue;
  const Principal carl{"carl", 1};
  for (const std::string name : {"a1", "a2", "a3", "a4"}) queue.Push({kAnn, {}, 10}, name);
  for (const std::string name : {"c1", "c2"}) queue.Push({carl, {}, 10}, name);
  EXPECT_THAT(PopAll(queue), ::testing::ElementsAre("a1", "c1", "a2", "c2", "a3", "a4"));
}

TEST(FairQueue, ItIsBytesThatAreShared) {
  FairQueue<std::string> queue;
  const Principal carl{"carl", 1};
  for (const std::string name : {"a1", "a2"}) queue.Push({kAnn, {}, 30}, name);
  for (const std::string name : {"c1", "c2", "c3", "c4"}) queue.Push({carl, {}, 10}, name);
  EXPECT_THAT(PopAll(queue), ::testing::ElementsAre("a1", "c1", "c2", "c3", "a2", "c4"));
}

TEST(FairQueue, WhoWasIdleHasSavedUpNothing) {
  FairQueue<std::string> queue;
  const Principal carl{"carl", 1};
  for (int i = 0; i < 100; ++i) queue.Push({kAnn, {}, 10}, "a");
  for (int i = 0; i < 90; ++i) queue.Pop();
  for (int i = 0; i < 10; ++i) queue.Push({carl, {}, 10}, "c");
  int of_carl = 0;
  for (int i = 0; i < 10; ++i) of_carl += queue.Pop() == "c";
  EXPECT_EQ(of_carl, 5);
}

TEST(FairQueue, WhoLeavesForAMomentDoesNotJumpTheQueue) {
  FairQueue<std::string> queue;
  const Principal carl{"carl", 1};
  for (int i = 0; i < 100; ++i) queue.Push({kAnn, {}, 10}, "a");
  int of_carl = 0;
  for (int i = 0; i < 40; ++i) {  // one at a time: the next when the last is through
    if (queue.principals() == 1 || i % 2 == 0) queue.Push({carl, {}, 10}, "c");
    of_carl += queue.Pop() == "c";
  }
  EXPECT_LE(of_carl, 21);
}

TEST(FairQueue, HigherPrioritiesOfTheSamePrincipalGoFirst) {
  FairQueue<std::string> queue;
  queue.Push({kAnn, Priority::kLow}, "low");
  queue.Push({kAnn, Priority::kNormal}, "normal");
  queue.Push({kAnn, Priority::kHigh}, "high");
  EXPECT_THAT(PopAll(queue), ::testing::ElementsAre("high", "normal", "low"));
}

TEST(FairQueue, APriorityMeansNothingToOtherPrincipals) {
  FairQueue<std::string> queue;
  const Principal carl{"carl", 1};
  for (const std::string name : {"a1", "a2"}) queue.Push({kAnn, Priority::kHigh, 10}, name);
  for (const std::string name : {"c1", "c2"}) queue.Push({carl, Priority::kLow, 10}, name);
  EXPECT_THAT(PopAll(queue), ::testing::ElementsAre("a1", "c1", "a2", "c2"));
}

TEST(FairQueue, LowPriorityLetsOthersPassForSoManyTimesOnly) {
  FairQueue<std::string> queue;
  for (int i = 0; i < 100; ++i) queue.Push({kAnn, Priority::kHigh}, "high");
  queue.Push({kAnn, Priority::kLow}, "low 1");
  queue.Push({kAnn, Priority::kLow}, "low 2");
  const auto order = PopAll(queue);
  EXPECT_EQ(order[kPassedOverMax], "low 1");
  EXPECT_EQ(order[2 * kPassedOverMax + 1], "low 2");
}

TEST(FairQueue, WhoIsGoneIsForgotten) {
  FairQueue<std::string> queue;
  for (int i = 0; i < 100; ++i) queue.Push({{.name = std::to_string(i)}, {}, 10}, "once");
  queue.Push({kAnn, {}, 10}, "a1");
  queue.Push({kAnn, {}, 10}, "a2");
  EXPECT_EQ(queue.principals(), 101u);
  PopAll(queue);
  queue.Push({kAnn, {}, 10}, "a3");
  queue.Push({kAnn, {}, 10}, "a4");
  PopAll(queue);
  EXPECT_EQ(queue.principals(), 1u);
}

// A machine of two threads in simulated time, with clients that each have some units waiting and bring the next one
// when one is through, as streams with slots do.
class Simulation {
 public:
  void AddClient(const Principal& principal, uint64_t unit_bytes, int units_waiting) {
    for (int i = 0; i < units_waiting; ++i) Bring({principal, Priority::kNormal, unit_bytes});
  }

  // Bytes that each principal had computed.
  std::map<std::string, double> Run(double bytes) {
    std::map<std::string, double> done;
    std::multimap<double, Turn> threads;  // by the time at which they are through
    double now = 0;
    while (now < bytes) {
      while (threads.size() < 2 && !queue_.empty()) {
        const Turn turn = queue_.Pop();
        const double jitter = std::uniform_real_distribution<double>(0.8, 1.2)(random_);
        threads.emplace(now + jitter * static_cast<double>(turn.bytes), turn);
      }
      const auto first = threads.begin();
      now = first->first;
      done[first->second.principal.name] += static_cast<double>(first->second.bytes);
      Bring(first->second);
      threads.erase(first);
    }
    return done;
  }

 private:
  void Bring(const Turn& turn) { queue_.Push(turn, turn); }

  FairQueue<Turn> queue_;
  std::mt19937_64 random_{1};
};

TEST(FairQueueSimulation, WeightsOneToThreeShareOneToThree) {
  Simulation machine;
  machine.AddClient(kAnn, 1 << 20, 12);
  machine.AddClient(kBob, 1 << 20, 4);
  auto done = machine.Run(1e9);
  EXPECT_NEAR(done["bob"] / done["ann"], 3, 0.03);
}

TEST(FairQueueSimulation, TheSizeOfUnitsChangesNoShare) {
  Simulation machine;
  machine.AddClient(kAnn, 4 << 20, 4);
  machine.AddClient(kBob, 64 << 10, 4);
  auto done = machine.Run(4e9);
  EXPECT_NEAR(done["bob"] / done["ann"], 3, 0.1);
}

TEST(FairQueueSimulation, WhatAPrincipalDoesNotUseGoesToTheOthers) {
  Simulation machine;
  const Principal carl{"carl", 1};
  machine.AddClient(kAnn, 1 << 20, 8);
  machine.AddClient(carl, 1 << 20, 8);
  auto done = machine.Run(1e9);
  EXPECT_NEAR(done["carl"] / done["ann"], 1, 0.02);
  EXPECT_NEAR(done["carl"] + done["ann"], 2e9, 0.05e9) << "both threads were busy all the time";
}

}  // namespace
}  // namespace quantd::server
