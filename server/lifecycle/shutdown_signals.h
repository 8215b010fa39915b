// SIGTERM and SIGINT as something to wait for.
#pragma once

#include <csignal>

#include "server/lifecycle/drain_waiter.h"

namespace quantd::server {

// Make one first of all in main: threads inherit that the two signals are blocked, and only the waits here see them.
// Also ignores SIGPIPE: a peer that went away is an error code, not an end.
class ShutdownSignals final : public DrainWaiter {
 public:
  ShutdownSignals();

  // Blocks until the first signal.
  void WaitForFirst();
  // True on a further signal. After that a third one ends the process in the default way.
  bool WaitOrHurry(absl::Duration duration) override;

 private:
  sigset_t signals_;
};

}  // namespace quantd::server
