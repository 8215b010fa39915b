#include "server/lifecycle/shutdown_signals.h"

#include <pthread.h>

namespace quantd::server {

ShutdownSignals::ShutdownSignals() {
  sigemptyset(&signals_);
  sigaddset(&signals_, SIGTERM);
  sigaddset(&signals_, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

void ShutdownSignals::WaitForFirst() {
  int signal = 0;
  while (sigwait(&signals_, &signal) != 0) {
  }
}

bool ShutdownSignals::WaitOrHurry(absl::Duration duration) {
  const timespec timeout = absl::ToTimespec(duration);
  if (sigtimedwait(&signals_, nullptr, &timeout) < 0) return false;
  pthread_sigmask(SIG_UNBLOCK, &signals_, nullptr);
  return true;
}

}  // namespace quantd::server
