// Ends RPCs whose peer keeps them waiting.
#pragma once

#include <cstdint>
#include <map>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "grpcpp/server_context.h"
#include "kernels/base/clock.h"

namespace quantd::server {

// For streams that are no sessions, which look after themselves. Safe from any thread.
class StallGuard {
 public:
  // One RPC from its begin to its end, which must come while gRPC still has the context: in OnDone. Move-only.
  class Watched {
   public:
    Watched(StallGuard& guard, grpc::CallbackServerContext& rpc) : guard_(&guard), id_(guard.Add(rpc)) {}
    Watched(Watched&& other) noexcept : guard_(other.guard_), id_(other.id_) { other.guard_ = nullptr; }
    Watched& operator=(Watched&&) = delete;
    ~Watched() {
      if (guard_ != nullptr) guard_->Remove(id_);
    }
    // The peer has done something: it has so long again.
    void Progress() { guard_->Progress(id_); }

   private:
    StallGuard* guard_;
    uint64_t id_;
  };

  StallGuard(absl::Duration stall_max, const Clock& clock) : stall_max_(stall_max), clock_(clock) {}

  // Cancels those that have not had progress for longer than stall_max. To be called now and then.
  void CancelStalled();

 private:
  struct Entry {
    grpc::CallbackServerContext* rpc;
    absl::Time since;
  };

  uint64_t Add(grpc::CallbackServerContext& rpc);
  void Progress(uint64_t id);
  void Remove(uint64_t id);

  const absl::Duration stall_max_;
  const Clock& clock_;
  absl::Mutex mutex_;
  uint64_t last_id_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<uint64_t, Entry> entries_ ABSL_GUARDED_BY(mutex_);  // as many as there are admitted streams
};

}  // namespace quantd::server
