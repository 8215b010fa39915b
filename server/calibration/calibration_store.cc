#include "server/calibration/calibration_store.h"

#include <algorithm>

#include "kernels/base/status_macros.h"
#include "server/calibration/calibration_errors.h"

namespace quantd::server {

SessionUse::~SessionUse() {
  if (session_ != nullptr) store_->Leave(std::move(session_));
}

CalibrationStore::CalibrationStore(const CalibrationLimits& limits, const Clock& clock)
    : limits_(limits), clock_(clock), budget_(limits.bytes_max) {}

absl::StatusOr<SessionUse> CalibrationStore::Join(const Principal& principal, const std::string& session_id,
                                                  const StatisticsConfig& config, uint32_t expected_contributions) {
  QUANTD_RETURN_IF_ERROR(CheckId("session_id", session_id));
  absl::MutexLock lock(&mutex_);
  DropExpiredLocked();
  const Key key(principal.name, session_id);
  const auto found = sessions_.find(key);
  if (found != sessions_.end()) {
    QUANTD_RETURN_IF_ERROR(found->second->CheckSame(config, expected_contributions));
    found->second->Touch(clock_.Now());
    return SessionUse(*this, found->second);
  }
  QUANTD_RETURN_IF_ERROR(CheckRoom(principal));
  const auto session =
      std::make_shared<CalibrationSession>(session_id, config, expected_contributions, limits_, budget_, clock_.Now());
  sessions_.emplace(key, session);
  return SessionUse(*this, session);
}

absl::Status CalibrationStore::CheckRoom(const Principal& principal) const {
  if (sessions_.size() >= limits_.sessions_max) {
    return CalibrationBudget("this server has " + std::to_string(sessions_.size()) +
                             " calibration sessions, the most. Delete one, wait until one expires, or ask the operator "
                             "for a larger calibration.sessions_max.");
  }
  const auto own = static_cast<size_t>(std::count_if(
      sessions_.begin(), sessions_.end(), [&](const auto& entry) { return entry.first.first == principal.name; }));
  if (own < limits_.sessions_per_principal_max) return absl::OkStatus();
  return CalibrationBudget("you have " + std::to_string(own) +
                           " calibration sessions, the most that one caller may have. Delete one, or ask the operator "
                           "for a larger calibration.sessions_per_principal_max.");
}

absl::StatusOr<std::shared_ptr<CalibrationSession>> CalibrationStore::Find(const Principal& principal,
                                                                           const std::string& session_id) {
  absl::MutexLock lock(&mutex_);
  DropExpiredLocked();
  const auto found = sessions_.find({principal.name, session_id});
  if (found == sessions_.end()) return UnknownCalibration(session_id);
  found->second->Touch(clock_.Now());
  return found->second;
}

std::vector<std::shared_ptr<CalibrationSession>> CalibrationStore::List(const Principal& principal,
                                                                        const std::string& after_id, size_t count_max) {
  absl::MutexLock lock(&mutex_);
  DropExpiredLocked();
  std::vector<std::shared_ptr<CalibrationSession>> sessions;
  auto next = sessions_.upper_bound({principal.name, after_id});
  for (; next != sessions_.end() && next->first.first == principal.name && sessions.size() < count_max; ++next) {
    sessions.push_back(next->second);
  }
  return sessions;
}

absl::Status CalibrationStore::Delete(const Principal& principal, const std::string& session_id) {
  std::shared_ptr<CalibrationSession> session;  // its memory is given back after the lock
  absl::MutexLock lock(&mutex_);
  DropExpiredLocked();
  const auto found = sessions_.find({principal.name, session_id});
  if (found == sessions_.end()) return UnknownCalibration(session_id);
  session = std::move(found->second);
  session->MarkDeleted();
  sessions_.erase(found);
  return absl::OkStatus();
}

void CalibrationStore::DropExpired() {
  absl::MutexLock lock(&mutex_);
  DropExpiredLocked();
}

// Who else holds a session has got it under this lock, so that nobody can take hold of one that is given up here.
void CalibrationStore::DropExpiredLocked() {
  const absl::Time unused_since = clock_.Now() - limits_.ttl;
  for (auto next = sessions_.begin(); next != sessions_.end();) {
    const bool in_use = next->second.use_count() > 1;
    if (in_use || next->second->last_used() >= unused_since) {
      ++next;
    } else {
      next = sessions_.erase(next);
    }
  }
}

// A session that a broken stream has made and nobody else uses leaves nothing behind.
void CalibrationStore::Leave(std::shared_ptr<CalibrationSession> session) {
  absl::MutexLock lock(&mutex_);
  const CalibrationSession* const left = session.get();
  session.reset();  // under the lock, so that of several who leave the last one sees that it is
  const auto found =
      std::find_if(sessions_.begin(), sessions_.end(), [&](const auto& entry) { return entry.second.get() == left; });
  if (found != sessions_.end() && found->second.use_count() == 1 && left->empty()) sessions_.erase(found);
}

size_t CalibrationStore::session_count() const {
  absl::MutexLock lock(&mutex_);
  return sessions_.size();
}

}  // namespace quantd::server
