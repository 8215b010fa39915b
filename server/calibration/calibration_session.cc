#include "server/calibration/calibration_session.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "kernels/base/status_macros.h"
#include "server/calibration/calibration_errors.h"

namespace quantd::server {
namespace {

// Beside the statistics: nodes of maps, and what vectors take in advance.
constexpr uint64_t kTensorOverheadBytes = 256;
constexpr uint64_t kIdOverheadBytes = 64;
constexpr uint64_t kCountBytes = 2 * sizeof(uint32_t);

// What is kept beside the statistics for the first contribution to a tensor; the next ones take less.
uint64_t OverheadBytes(const std::string& tensor, const std::string& contribution_id) {
  return kTensorOverheadBytes + tensor.size() + kIdOverheadBytes + contribution_id.size() + kCountBytes;
}

absl::Status TooManyTensors(const std::string& session_id) {
  return CalibrationBudget("calibration session " + InMessage(session_id) + " may have " +
                           std::to_string(kCalibrationTensorsMax) + " tensors. Use another session_id for more.");
}

// What Merge would say, before any value has come.
absl::Status CheckMergeable(const TensorStatistics& known, const TensorStatistics& other, const std::string& tensor) {
  if (known.dtype() == other.dtype() && known.extents() == other.extents()) return absl::OkStatus();
  return InvalidArgument(reason::kIncompatibleStatistics,
                         "tensor " + InMessage(tensor) +
                             " has another type or other buckets than its contributions so far. Send the type and the "
                             "shape that they have, or another name.",
                         {{"tensor", tensor}});
}

}  // namespace

CalibrationSession::CalibrationSession(std::string id, const StatisticsConfig& config, uint32_t expected_contributions,
                                       const CalibrationLimits& limits, ByteBudget& server_budget, absl::Time now)
    : id_(std::move(id)),
      config_(config),
      expected_contributions_(expected_contributions),
      ttl_(limits.ttl),
      budget_(limits.session_bytes_max, &server_budget),
      last_used_(now) {}

absl::Status CalibrationSession::CheckSame(const StatisticsConfig& config, uint32_t expected_contributions) const {
  if (ToFields(config) != ToFields(config_)) {
    std::string ours;
    for (const auto& [key, value] : ToFields(config_)) absl::StrAppend(&ours, " ", key, "=", value);
    return CalibrationMismatch("calibration session " + InMessage(id_) + " counts" + ours +
                               ". Send the same configuration, or choose another session_id.");
  }
  if (expected_contributions != 0 && expected_contributions != expected_contributions_) {
    return CalibrationMismatch("calibration session " + InMessage(id_) + " was made with expected_contributions " +
                               std::to_string(expected_contributions_) + ", not " +
                               std::to_string(expected_contributions) + ". Send the same number, or none.");
  }
  return absl::OkStatus();
}

// ---- Contributions ----

absl::StatusOr<std::optional<ContributedStatistics>> CalibrationSession::Begin(const std::string& tensor,
                                                                               const std::string& contribution_id,
                                                                               DataType dtype,
                                                                               const std::vector<uint64_t>& shape,
                                                                               absl::Time now) {
  QUANTD_ASSIGN_OR_RETURN(const uint64_t state_bytes_max, TensorStatistics::MemoryBytesMax(config_, dtype, shape));
  {
    absl::MutexLock lock(&mutex_);
    last_used_ = now;
    QUANTD_ASSIGN_OR_RETURN(const bool counted, CheckContribution(tensor, contribution_id));
    if (counted) return std::optional<ContributedStatistics>();
  }
  QUANTD_ASSIGN_OR_RETURN(ReservedBytes reserved,
                          ReserveBytes(state_bytes_max + OverheadBytes(tensor, contribution_id)));
  QUANTD_ASSIGN_OR_RETURN(TensorStatistics statistics, TensorStatistics::Make(config_, dtype, shape));
  absl::MutexLock lock(&mutex_);
  const auto found = tensors_.find(tensor);
  if (found != tensors_.end()) QUANTD_RETURN_IF_ERROR(CheckMergeable(*found->second.statistics, statistics, tensor));
  return std::optional(ContributedStatistics{std::move(statistics), std::move(reserved)});
}

absl::StatusOr<ReservedBytes> CalibrationSession::Reserve(const std::string& tensor, const std::string& contribution_id,
                                                          const TensorStatistics& statistics) {
  return ReserveBytes(statistics.MemoryBytes() + OverheadBytes(tensor, contribution_id));
}

absl::StatusOr<ReservedBytes> CalibrationSession::ReserveBytes(uint64_t bytes) {
  std::optional<ReservedBytes> reserved = budget_.Reserve(bytes);
  if (reserved.has_value()) return *std::move(reserved);
  return MakeError(absl::StatusCode::kResourceExhausted, reason::kCalibrationBudget,
                   "calibration session " + InMessage(id_) + " has " + std::to_string(budget_.bytes_reserved()) +
                       " of at most " + std::to_string(budget_.bytes_max()) + " bytes, and this takes " +
                       std::to_string(bytes) +
                       " more, or all sessions together have too much. Export and delete sessions, count less (range "
                       "instead of distribution), or ask the operator for larger calibration.session_bytes_max and "
                       "calibration.bytes_max.",
                   {{"needed_bytes", std::to_string(bytes)}, {"limit_bytes", std::to_string(budget_.bytes_max())}});
}

absl::StatusOr<bool> CalibrationSession::CheckContribution(const std::string& tensor,
                                                           const std::string& contribution_id) const {
  if (deleted_) return UnknownCalibration(id_);
  const auto found = tensors_.find(tensor);
  if (found != tensors_.end() && HasCounted(found->second, contribution_id)) return true;
  if (sealed_) {
    return CalibrationClosed("calibration session " + InMessage(id_) +
                             " is sealed and takes nothing more. Use another session_id.");
  }
  if (found != tensors_.end() && IsClosed(found->second)) {
    return CalibrationClosed("tensor " + InMessage(tensor) + " has all " + std::to_string(expected_contributions_) +
                             " expected contributions. Use a contribution_id that it has, or another session_id.");
  }
  if (found == tensors_.end() && tensors_.size() >= kCalibrationTensorsMax) {
    return TooManyTensors(id_);
  }
  if (id_indices_.size() >= kContributionIdsMax && id_indices_.count(contribution_id) == 0) {
    return CalibrationBudget("calibration session " + InMessage(id_) + " has " + std::to_string(kContributionIdsMax) +
                             " contribution ids, the most. Give one id to more tensors, or use another session_id.");
  }
  return false;
}

absl::StatusOr<bool> CalibrationSession::CheckCount(const std::string& tensor, const std::string& contribution_id,
                                                    const TensorStatistics& statistics) const {
  QUANTD_ASSIGN_OR_RETURN(const bool counted, CheckContribution(tensor, contribution_id));
  const auto found = tensors_.find(tensor);
  if (counted || found == tensors_.end()) return counted;
  const TensorStatistics& known = *found->second.statistics;
  QUANTD_RETURN_IF_ERROR(CheckMergeable(known, statistics, tensor));
  if (known.Total().count + statistics.Total().count <= kStatisticsElementsMax) return false;
  return MakeError(absl::StatusCode::kOutOfRange, reason::kStatisticsLimit,
                   "tensor " + InMessage(tensor) + " would have more than " + std::to_string(kStatisticsElementsMax) +
                       " elements. Use another session_id for the rest.",
                   {{"tensor", tensor}});
}

absl::StatusOr<CalibrationSummary> CalibrationSession::Count(const std::string& tensor,
                                                             const std::string& contribution_id,
                                                             ContributedStatistics contributed, absl::Time now) {
  contributed.statistics.Compact();
  absl::MutexLock lock(&mutex_);
  last_used_ = now;
  QUANTD_ASSIGN_OR_RETURN(const bool counted, CheckCount(tensor, contribution_id, contributed.statistics));
  if (counted) return CalibrationSummary{false, tensors_.at(tensor).contributions.size()};
  return CalibrationSummary{true, Merge(tensor, contribution_id, std::move(contributed))};
}

absl::StatusOr<CalibrationSession::AllCounted> CalibrationSession::CountAll(
    const std::string& contribution_id, std::map<std::string, ContributedStatistics> tensors, absl::Time now) {
  absl::MutexLock lock(&mutex_);
  last_used_ = now;
  AllCounted all;
  uint64_t fresh = 0;
  for (auto next = tensors.begin(); next != tensors.end();) {
    QUANTD_ASSIGN_OR_RETURN(const bool counted, CheckCount(next->first, contribution_id, next->second.statistics));
    if (counted) {
      ++all.repeated;
      next = tensors.erase(next);
      continue;
    }
    if (tensors_.count(next->first) == 0) ++fresh;
    ++next;
  }
  if (tensors_.size() + fresh > kCalibrationTensorsMax) return TooManyTensors(id_);
  for (auto& [name, contributed] : tensors) {
    Merge(name, contribution_id, std::move(contributed));
    ++all.counted;
  }
  return all;
}

uint64_t CalibrationSession::Merge(const std::string& tensor, const std::string& contribution_id,
                                   ContributedStatistics contributed) {
  const uint64_t overhead_bytes = OverheadBytes(tensor, contribution_id);
  const auto found = tensors_.find(tensor);
  if (found == tensors_.end()) {
    Tensor& added = tensors_[tensor];
    added.statistics = std::make_shared<TensorStatistics>(std::move(contributed.statistics));
    added.reserved = std::move(contributed.reserved);
    added.reserved.ShrinkTo(added.statistics->MemoryBytes() + overhead_bytes);
    if (expected_contributions_ > 0) ++open_tensors_;
    return AddContribution(added, contribution_id);
  }
  Tensor& known = found->second;
  const uint64_t bytes_before = known.statistics->MemoryBytes();
  if (!known.statistics->Merge(contributed.statistics).ok()) return known.contributions.size();  // CheckCount knows all
  const uint64_t bytes_now = known.statistics->MemoryBytes();
  contributed.reserved.ShrinkTo(bytes_now - std::min(bytes_before, bytes_now) + overhead_bytes);
  known.reserved.Add(std::move(contributed.reserved));
  return AddContribution(known, contribution_id);
}

uint64_t CalibrationSession::AddContribution(Tensor& tensor, const std::string& contribution_id) {
  const uint32_t index = id_indices_.emplace(contribution_id, static_cast<uint32_t>(id_indices_.size())).first->second;
  const auto place = std::lower_bound(tensor.contributions.begin(), tensor.contributions.end(), index);
  tensor.contributions.insert(place, index);
  ++contribution_count_;
  if (tensor.contributions.size() == expected_contributions_) --open_tensors_;
  return tensor.contributions.size();
}

bool CalibrationSession::HasCounted(const Tensor& tensor, const std::string& contribution_id) const {
  const auto index = id_indices_.find(contribution_id);
  return index != id_indices_.end() &&
         std::binary_search(tensor.contributions.begin(), tensor.contributions.end(), index->second);
}

uint64_t CalibrationSession::ContributionsOf(const std::string& tensor) const {
  absl::MutexLock lock(&mutex_);
  const auto found = tensors_.find(tensor);
  return found == tensors_.end() ? 0 : found->second.contributions.size();
}

// ---- The session's life ----

bool CalibrationSession::IsClosed(const Tensor& tensor) const {
  return sealed_ || (expected_contributions_ > 0 && tensor.contributions.size() >= expected_contributions_);
}

bool CalibrationSession::IsReadable() const {
  return sealed_ || (expected_contributions_ > 0 && !tensors_.empty() && open_tensors_ == 0);
}

void CalibrationSession::Seal(absl::Time now) {
  absl::MutexLock lock(&mutex_);
  last_used_ = now;
  sealed_ = true;
}

void CalibrationSession::MarkDeleted() {
  absl::MutexLock lock(&mutex_);
  deleted_ = true;
}

bool CalibrationSession::deleted() const {
  absl::MutexLock lock(&mutex_);
  return deleted_;
}

bool CalibrationSession::empty() const {
  absl::MutexLock lock(&mutex_);
  return tensors_.empty() && !sealed_;
}

CalibrationInfo CalibrationSession::Describe(absl::Time now) const {
  absl::MutexLock lock(&mutex_);
  return {.session_id = id_,
          .config = config_,
          .expected_contributions = expected_contributions_,
          .sealed = sealed_,
          .readable = IsReadable(),
          .tensor_count = tensors_.size(),
          .contribution_count = contribution_count_,
          .memory_bytes = budget_.bytes_reserved(),
          .expires_in = std::max(absl::ZeroDuration(), last_used_ + ttl_ - now)};
}

void CalibrationSession::Touch(absl::Time now) {
  absl::MutexLock lock(&mutex_);
  last_used_ = now;
}

absl::Time CalibrationSession::last_used() const {
  absl::MutexLock lock(&mutex_);
  return last_used_;
}

// ---- Results ----

absl::StatusOr<std::map<std::string, ClosedTensor>> CalibrationSession::ReadAll(absl::Time now) {
  absl::MutexLock lock(&mutex_);
  last_used_ = now;
  if (deleted_) return UnknownCalibration(id_);
  if (!IsReadable()) return CalibrationOpen(id_);
  std::map<std::string, ClosedTensor> tensors;
  for (const auto& [name, tensor] : tensors_) {
    tensors.emplace_hint(tensors.end(), name, ClosedTensor{tensor.statistics, tensor.contributions.size()});
  }
  return tensors;
}

absl::StatusOr<ClosedTensor> CalibrationSession::Read(const std::string& tensor, absl::Time now) {
  absl::MutexLock lock(&mutex_);
  last_used_ = now;
  if (deleted_) return UnknownCalibration(id_);
  const auto found = tensors_.find(tensor);
  if (found == tensors_.end()) return UnknownTensor(id_, tensor);
  if (!IsClosed(found->second)) return CalibrationOpen(id_);
  return ClosedTensor{found->second.statistics, found->second.contributions.size()};
}

}  // namespace quantd::server
