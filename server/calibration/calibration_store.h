// The calibration sessions of a server.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "kernels/base/clock.h"
#include "server/calibration/byte_budget.h"
#include "server/calibration/calibration_limits.h"
#include "server/calibration/calibration_session.h"
#include "server/session/principal.h"

namespace quantd::server {

class CalibrationStore;

// A session that somebody is contributing to: it does not expire meanwhile, and if it was made for this and nothing has
// been counted in the end, it goes again. Movable. The store must outlive it.
class SessionUse {
 public:
  SessionUse(CalibrationStore& store, std::shared_ptr<CalibrationSession> session)
      : store_(&store), session_(std::move(session)) {}
  ~SessionUse();
  SessionUse(SessionUse&& other) noexcept = default;
  SessionUse& operator=(SessionUse&&) = delete;

  CalibrationSession* operator->() const { return session_.get(); }

 private:
  CalibrationStore* store_;
  std::shared_ptr<CalibrationSession> session_;  // null: moved from
};

// Each session belongs to the principal that made it; others neither see it nor can they take its name. Sessions that
// have not been used for limits.ttl are deleted. Safe from any thread.
class CalibrationStore {
 public:
  // Both must outlive it.
  CalibrationStore(const CalibrationLimits& limits, const Clock& clock);

  // The session of that id, made if there is none. INVALID_CALIBRATION (the id), CALIBRATION_MISMATCH,
  // CALIBRATION_BUDGET (too many sessions).
  absl::StatusOr<SessionUse> Join(const Principal& principal, const std::string& session_id,
                                  const StatisticsConfig& config, uint32_t expected_contributions);

  // The session of that id. UNKNOWN_CALIBRATION.
  absl::StatusOr<std::shared_ptr<CalibrationSession>> Find(const Principal& principal, const std::string& session_id);

  // The principal's sessions with ids after `after_id`, `count_max` of them, in the order of their ids.
  std::vector<std::shared_ptr<CalibrationSession>> List(const Principal& principal, const std::string& after_id,
                                                        size_t count_max);

  // UNKNOWN_CALIBRATION. What is on its way into the session fails.
  absl::Status Delete(const Principal& principal, const std::string& session_id);

  // To be called now and then, so that memory does not wait for the next caller.
  void DropExpired();

  absl::Time now() const { return clock_.Now(); }
  uint64_t bytes_reserved() const { return budget_.bytes_reserved(); }
  size_t session_count() const;

 private:
  friend class SessionUse;
  using Key = std::pair<std::string, std::string>;  // principal, id
  using Sessions = std::map<Key, std::shared_ptr<CalibrationSession>>;

  void Leave(std::shared_ptr<CalibrationSession> session);
  void DropExpiredLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status CheckRoom(const Principal& principal) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const CalibrationLimits& limits_;
  const Clock& clock_;
  ByteBudget budget_;
  mutable absl::Mutex mutex_;
  Sessions sessions_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace quantd::server
