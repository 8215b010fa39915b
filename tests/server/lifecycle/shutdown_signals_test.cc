#include "server/lifecycle/shutdown_signals.h"

#include <gtest/gtest.h>
#include <pthread.h>

#include <csignal>

namespace quantd::server {
namespace {

bool IsBlocked(int signal) {
  sigset_t blocked;
  pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
  return sigismember(&blocked, signal) == 1;
}

// Signals go to this thread alone: other threads of the test program do not block them.
TEST(ShutdownSignals, WaitsForTheFirstAndSeesTheSecondAsHurry) {
  ShutdownSignals signals;
  pthread_kill(pthread_self(), SIGTERM);
  signals.WaitForFirst();
  EXPECT_FALSE(signals.WaitOrHurry(absl::Milliseconds(1)));
  EXPECT_TRUE(IsBlocked(SIGTERM));
  pthread_kill(pthread_self(), SIGINT);
  EXPECT_TRUE(signals.WaitOrHurry(absl::Hours(1)));
  EXPECT_FALSE(IsBlocked(SIGTERM)) << "a third signal must end the process";
  EXPECT_FALSE(IsBlocked(SIGINT));
}

}  // namespace
}  // namespace quantd::server
