// One calibration session: the statistics of its tensors, and who has contributed to them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "kernels/calibrate/statistics_config.h"
#include "kernels/calibrate/tensor_statistics.h"
#include "server/calibration/byte_budget.h"
#include "server/calibration/calibration_limits.h"
#include "server/session/frame.h"

namespace quantd::server {

// quantd.v1.Calibration, less what is the same for every session of a server.
struct CalibrationInfo {
  std::string session_id;
  StatisticsConfig config;
  uint32_t expected_contributions = 0;
  bool sealed = false;
  bool readable = false;
  uint64_t tensor_count = 0;
  uint64_t contribution_count = 0;
  uint64_t memory_bytes = 0;
  absl::Duration expires_in;
};

// A tensor whose statistics do not change any more.
struct ClosedTensor {
  std::shared_ptr<const TensorStatistics> statistics;
  uint64_t contributions = 0;
};

// The statistics of one contribution, in memory that the session's budget has granted.
struct ContributedStatistics {
  TensorStatistics statistics;
  ReservedBytes reserved;
};

// Safe from any thread. What it gives out keeps it: it lives as long as a shared_ptr to it.
class CalibrationSession : public std::enable_shared_from_this<CalibrationSession> {
 public:
  // `server_budget` must outlive it.
  CalibrationSession(std::string id, const StatisticsConfig& config, uint32_t expected_contributions,
                     const CalibrationLimits& limits, ByteBudget& server_budget, absl::Time now);

  const std::string& id() const { return id_; }
  const StatisticsConfig& config() const { return config_; }

  // CALIBRATION_MISMATCH if another configuration or expectation is meant.
  absl::Status CheckSame(const StatisticsConfig& config, uint32_t expected_contributions) const;

  // Room and an empty state for a contribution to the tensor; nothing if this one has been counted already. Errors:
  // those of TensorStatistics::Make, CALIBRATION_CLOSED, CALIBRATION_MISMATCH (other contributions have another type or
  // other buckets), CALIBRATION_BUDGET, UNKNOWN_CALIBRATION (deleted).
  absl::StatusOr<std::optional<ContributedStatistics>> Begin(const std::string& tensor,
                                                             const std::string& contribution_id, DataType dtype,
                                                             const std::vector<uint64_t>& shape, absl::Time now);
  // Room for statistics that exist already.
  absl::StatusOr<ReservedBytes> Reserve(const std::string& tensor, const std::string& contribution_id,
                                        const TensorStatistics& statistics);
  // Merges them: from now on they count, unless this contribution to the tensor has been counted meanwhile. Errors: as
  // Begin, and STATISTICS_LIMIT; then nothing has changed.
  absl::StatusOr<CalibrationSummary> Count(const std::string& tensor, const std::string& contribution_id,
                                           ContributedStatistics contributed, absl::Time now);
  // The same for several tensors: all of them, less those that have been counted before, or none.
  struct AllCounted {
    uint64_t counted = 0;
    uint64_t repeated = 0;
  };
  absl::StatusOr<AllCounted> CountAll(const std::string& contribution_id,
                                      std::map<std::string, ContributedStatistics> tensors, absl::Time now);
  // How often the tensor has been contributed to; 0 if there is none of that name.
  uint64_t ContributionsOf(const std::string& tensor) const;

  // From now on nothing counts, and results can be read.
  void Seal(absl::Time now);
  // Whoever still holds it gets UNKNOWN_CALIBRATION.
  void MarkDeleted();
  bool deleted() const;

  CalibrationInfo Describe(absl::Time now) const;
  // No contribution has been counted, and nobody has sealed it.
  bool empty() const;

  // CALIBRATION_OPEN, UNKNOWN_CALIBRATION (deleted). All tensors, which stay as they are.
  absl::StatusOr<std::map<std::string, ClosedTensor>> ReadAll(absl::Time now);
  // One tensor, as soon as it takes no further contributions itself. Also UNKNOWN_TENSOR.
  absl::StatusOr<ClosedTensor> Read(const std::string& tensor, absl::Time now);

  // Used, as time to live understands it.
  void Touch(absl::Time now);
  absl::Time last_used() const;

 private:
  struct Tensor {
    std::shared_ptr<TensorStatistics> statistics;
    ReservedBytes reserved;
    std::vector<uint32_t> contributions;  // indices of ids, sorted
  };

  bool HasCounted(const Tensor& tensor, const std::string& contribution_id) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsClosed(const Tensor& tensor) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsReadable() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether this contribution may still count; the value is whether it has counted before.
  absl::StatusOr<bool> CheckContribution(const std::string& tensor, const std::string& contribution_id) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // CheckContribution, and whether the statistics can be merged.
  absl::StatusOr<bool> CheckCount(const std::string& tensor, const std::string& contribution_id,
                                  const TensorStatistics& statistics) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<ReservedBytes> ReserveBytes(uint64_t bytes);
  // After CheckCount. The contributions that the tensor now has.
  uint64_t Merge(const std::string& tensor, const std::string& contribution_id, ContributedStatistics contributed)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  uint64_t AddContribution(Tensor& tensor, const std::string& contribution_id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string id_;
  const StatisticsConfig config_;
  const uint32_t expected_contributions_;
  const absl::Duration ttl_;
  ByteBudget budget_;

  mutable absl::Mutex mutex_;
  std::map<std::string, Tensor> tensors_ ABSL_GUARDED_BY(mutex_);
  std::unordered_map<std::string, uint32_t> id_indices_ ABSL_GUARDED_BY(mutex_);
  uint64_t contribution_count_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t open_tensors_ ABSL_GUARDED_BY(mutex_) = 0;  // that lack expected contributions
  bool sealed_ ABSL_GUARDED_BY(mutex_) = false;
  bool deleted_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Time last_used_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace quantd::server
