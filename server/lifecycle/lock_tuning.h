// What makes locks cheap that are taken for every message.
#pragma once

#include "absl/synchronization/mutex.h"

namespace quantd::server {

// For the whole process, before threads start. Debian's abseil is built like a debug build: at each lock it looks for
// cycles among those that are held, by entering them into a graph behind a lock of its own. gRPC's locks are abseil's.
inline void SkipLockCycleChecks() { absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore); }

}  // namespace quantd::server
