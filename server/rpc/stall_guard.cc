#include "server/rpc/stall_guard.h"

namespace quantd::server {

void StallGuard::CancelStalled() {
  absl::MutexLock lock(&mutex_);
  const absl::Time now = clock_.Now();
  for (auto& [id, entry] : entries_) {
    if (now - entry.since <= stall_max_) continue;
    entry.since = now;  // once is enough for as long again
    entry.rpc->TryCancel();
  }
}

uint64_t StallGuard::Add(grpc::CallbackServerContext& rpc) {
  absl::MutexLock lock(&mutex_);
  entries_.emplace(++last_id_, Entry{&rpc, clock_.Now()});
  return last_id_;
}

void StallGuard::Progress(uint64_t id) {
  absl::MutexLock lock(&mutex_);
  entries_.at(id).since = clock_.Now();
}

void StallGuard::Remove(uint64_t id) {
  absl::MutexLock lock(&mutex_);
  entries_.erase(id);
}

}  // namespace quantd::server
