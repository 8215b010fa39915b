#include "server/session/compute_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <string>

#include "absl/synchronization/barrier.h"
#include "absl/synchronization/notification.h"

namespace quantd::server {
namespace {

TEST(ComputePool, RunsInTheOrderOfAFairQueue) {
  std::vector<std::string> order;
  {
    absl::Notification all_queued;
    ComputePool pool(1);
    pool.SubmitFirst([&] { all_queued.WaitForNotification(); });
    const auto add = [&](Priority priority, const std::string& name) {
      pool.Submit({.priority = priority}, [&order, name] { order.push_back(name); });
    };
    add(Priority::kLow, "low 1");
    add(Priority::kNormal, "normal 1");
    add(Priority::kHigh, "high 1");
    add(Priority::kLow, "low 2");
    add(Priority::kHigh, "high 2");
    add(Priority::kNormal, "normal 2");
    pool.SubmitFirst([&] { order.push_back("first"); });
    all_queued.Notify();
  }
  EXPECT_THAT(order, ::testing::ElementsAre("first", "high 1", "high 2", "normal 1", "normal 2", "low 1", "low 2"));
}

TEST(ComputePool, AsManyRunAtOnceAsThereAreThreads) {
  constexpr int kThreads = 3;
  absl::Barrier* barrier = new absl::Barrier(kThreads);
  {
    ComputePool pool(kThreads);
    for (int i = 0; i < kThreads; ++i) {
      pool.Submit({}, [barrier] {
        if (barrier->Block()) delete barrier;
      });
    }
  }
}

TEST(ComputePool, TheEndRunsWhatIsQueued) {
  std::atomic<int> runs = 0;
  {
    ComputePool pool(2);
    for (int i = 0; i < 1000; ++i) pool.Submit({}, [&] { ++runs; });
  }
  EXPECT_EQ(runs, 1000);
}

TEST(ComputePool, WorkMaySubmitWork) {
  std::atomic<int> runs = 0;
  {
    ComputePool pool(1);
    pool.Submit({}, [&] {
      ++runs;
      pool.Submit({}, [&] { ++runs; });
    });
  }
  EXPECT_EQ(runs, 2);
}

}  // namespace
}  // namespace quantd::server
