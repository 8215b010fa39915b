#include "server/session/compute_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <string>

#include "absl/synchronization/barrier.h"
#include "absl/synchronization/notification.h"

namespace quantd::server {
namespace {

TEST(ComputePool, HigherPrioritiesFirstAndFirstComeFirstServedWithinOne) {
  std::vector<std::string> order;
  {
    absl::Notification all_queued;
    ComputePool pool(1);
    pool.Submit(Priority::kNormal, [&] { all_queued.WaitForNotification(); });
    const auto add = [&](Priority priority, const std::string& name) {
      pool.Submit(priority, [&order, name] { order.push_back(name); });
    };
    add(Priority::kLow, "low 1");
    add(Priority::kNormal, "normal 1");
    add(Priority::kHigh, "high 1");
    add(Priority::kLow, "low 2");
    add(Priority::kHigh, "high 2");
    add(Priority::kNormal, "normal 2");
    all_queued.Notify();
  }
  EXPECT_THAT(order, ::testing::ElementsAre("high 1", "high 2", "normal 1", "normal 2", "low 1", "low 2"));
}

TEST(ComputePool, AsManyRunAtOnceAsThereAreThreads) {
  constexpr int kThreads = 3;
  absl::Barrier* barrier = new absl::Barrier(kThreads);
  {
    ComputePool pool(kThreads);
    for (int i = 0; i < kThreads; ++i) {
      pool.Submit(Priority::kNormal, [barrier] {
        if (barrier->Block()) delete barrier;
      });
    }
  }
}

TEST(ComputePool, TheEndRunsWhatIsQueued) {
  std::atomic<int> runs = 0;
  {
    ComputePool pool(2);
    for (int i = 0; i < 1000; ++i) pool.Submit(Priority::kLow, [&] { ++runs; });
  }
  EXPECT_EQ(runs, 1000);
}

TEST(ComputePool, WorkMaySubmitWork) {
  std::atomic<int> runs = 0;
  {
    ComputePool pool(1);
    pool.Submit(Priority::kNormal, [&] {
      ++runs;
      pool.Submit(Priority::kHigh, [&] { ++runs; });
    });
  }
  EXPECT_EQ(runs, 2);
}

}  // namespace
}  // namespace quantd::server
