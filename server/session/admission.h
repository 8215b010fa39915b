// Who may open a stream now.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "server/session/limits.h"
#include "server/session/principal.h"
#include "server/session/retry_delay.h"

namespace quantd::server {

// Counts open streams, in all and by principal. Safe from any thread.
class Admission {
 public:
  explicit Admission(const Limits& limits) : limits_(limits) {}

  // A place; gives itself back when destroyed. The Admission must outlive it.
  class Ticket {
   public:
    Ticket(Admission& admission, Principal principal) : admission_(&admission), principal_(std::move(principal)) {}
    ~Ticket() {
      if (admission_ != nullptr) admission_->Leave(principal_);
    }
    Ticket(Ticket&& other) noexcept
        : admission_(std::exchange(other.admission_, nullptr)), principal_(std::move(other.principal_)) {}
    Ticket& operator=(Ticket&&) = delete;

   private:
    Admission* admission_;
    Principal principal_;
  };

  // UNAVAILABLE with reason SERVER_DRAINING or SERVER_STREAMS, RESOURCE_EXHAUSTED with reason PRINCIPAL_STREAMS.
  absl::StatusOr<Ticket> Enter(const Principal& principal);

  // From now on nobody enters.
  void BeginDrain();

  uint32_t streams() const;

 private:
  void Leave(const Principal& principal);

  const Limits& limits_;
  mutable absl::Mutex mutex_;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  uint32_t streams_ ABSL_GUARDED_BY(mutex_) = 0;
  RetryDelays retry_delays_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, uint32_t> streams_of_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace quantd::server
