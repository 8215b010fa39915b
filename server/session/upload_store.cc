#include "server/session/upload_store.h"

#include <algorithm>

#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "server/session/retry_delay.h"

namespace quantd::server {
namespace {

// As many characters as it takes to be hard to guess, and as many as are needed.
constexpr size_t kIdBytesMin = 16;
constexpr size_t kIdBytesMax = 64;
// The stream that is superseded is looked at several times in stall_max, at least once a second.
constexpr char kBusyRetryMs[] = "500";

bool IsIdCharacter(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
}

TensorRequest WithoutUpload(TensorRequest request) {
  request.upload.reset();
  return request;
}

}  // namespace

// ---- The lease ----

UploadStore::Lease::Lease(UploadStore& store, Key key, Parked upload, bool kept)
    : store_(store), key_(std::move(key)), upload_(std::move(upload)), kept_(kept) {}

UploadStore::Lease::~Lease() { store_.Return(*this); }

void UploadStore::Lease::Keep(const UploadProgress& progress) {
  upload_.progress = progress;
  kept_ = true;
}

// ---- The store ----

UploadStore::UploadStore(const Limits& limits, const Clock& clock, std::string server_instance, uint64_t epoch)
    : limits_(limits), clock_(clock), server_instance_(std::move(server_instance)), epoch_(epoch) {}

absl::Status UploadStore::CheckId(const std::string& id) {
  const bool valid =
      id.size() >= kIdBytesMin && id.size() <= kIdBytesMax && std::all_of(id.begin(), id.end(), IsIdCharacter);
  if (valid) return absl::OkStatus();
  return InvalidArgument(reason::kInvalidUpload, "upload.id must be " + std::to_string(kIdBytesMin) + " to " +
                                                     std::to_string(kIdBytesMax) +
                                                     " of the characters A-Z a-z 0-9 . _ -. Draw it at random.");
}

std::shared_ptr<UploadStore::Lease> UploadStore::Begin(const Principal& principal, const TensorRequest& request,
                                                       std::unique_ptr<Spool> spool) {
  const Key key{principal.name, request.upload->id};
  std::shared_ptr<Lease> lease(
      new Lease(*this, key, {WithoutUpload(request), std::move(spool), {}, {}}, /*kept=*/false));
  std::optional<Parked> dropped;
  absl::MutexLock lock(&mutex_);
  const auto entry = entries_.try_emplace(key).first;
  if (entry->second.lease != nullptr) entry->second.lease->superseded_.store(true, std::memory_order_relaxed);
  if (entry->second.parked.has_value()) dropped = TakeLocked(entry);
  entry->second.lease = lease.get();
  return lease;
}

absl::StatusOr<std::shared_ptr<UploadStore::Lease>> UploadStore::Resume(const Principal& principal,
                                                                        const TensorRequest& request) {
  const UploadReference& upload = *request.upload;
  if (upload.server_instance != server_instance_ || upload.epoch != epoch_) {
    return MakeError(absl::StatusCode::kAborted, reason::kUploadElsewhere,
                     "this upload was begun in another server process, and what that had found is not here. Send the "
                     "tensor from its start.",
                     {{"server_instance", server_instance_}});
  }
  DropExpired();
  absl::MutexLock lock(&mutex_);
  const auto found = entries_.find({principal.name, upload.id});
  if (found == entries_.end()) {
    return MakeError(absl::StatusCode::kFailedPrecondition, reason::kUploadUnknown,
                     "nothing is kept of this upload: it never began, is complete, was parked for longer than " +
                         absl::FormatDuration(limits_.park_time_max) +
                         ", or had to make room. Send the tensor from its start.");
  }
  Entry& entry = found->second;
  const TensorRequest& before = entry.lease != nullptr ? entry.lease->upload_.request : entry.parked->request;
  if (before != WithoutUpload(request)) {
    return MakeError(absl::StatusCode::kFailedPrecondition, reason::kUploadMismatch,
                     "this upload was begun with another header. Send the same one, or the tensor from its start.");
  }
  if (entry.lease != nullptr) {
    entry.lease->superseded_.store(true, std::memory_order_relaxed);
    return MakeError(absl::StatusCode::kUnavailable, reason::kUploadBusy,
                     "the last stream of this upload is being ended, which takes a moment. Try again then.",
                     {{kRetryDelayKey, kBusyRetryMs}});
  }
  std::shared_ptr<Lease> lease(new Lease(*this, found->first, TakeLocked(found), /*kept=*/true));
  entry.lease = lease.get();
  return lease;
}

void UploadStore::Return(Lease& lease) {
  Dropped dropped;
  absl::MutexLock lock(&mutex_);
  const auto found = entries_.find(lease.key_);
  if (found == entries_.end() || found->second.lease != &lease) return;  // begun anew since
  const std::string& principal = lease.key_.first;
  const uint64_t bytes = lease.upload_.spool->bytes();
  if (!lease.kept_ || !MakeRoomLocked(principal, bytes, dropped)) {
    entries_.erase(found);
    return;
  }
  lease.upload_.since = clock_.Now();
  found->second = {nullptr, std::move(lease.upload_)};
  for (Account* account : {&parked_, &parked_by_[principal]}) {
    account->bytes += bytes;
    ++account->count;
  }
}

bool UploadStore::MakeRoomLocked(const std::string& principal, uint64_t bytes, Dropped& dropped) {
  const uint64_t own_max = ParkedBytesPerPrincipalMax(limits_);
  if (bytes > own_max) return false;
  while (parked_by_.contains(principal) && parked_by_[principal].bytes + bytes > own_max) {
    DropOldestLocked(&principal, dropped);
  }
  while (parked_.bytes + bytes > limits_.parked_bytes_max || parked_.count >= kParkedUploadsMax) {
    DropOldestLocked(nullptr, dropped);
  }
  return true;
}

bool UploadStore::DropOldestLocked(const std::string* principal, Dropped& dropped) {
  const auto whose = principal != nullptr
                         ? parked_by_.find(*principal)
                         : std::max_element(parked_by_.begin(), parked_by_.end(), [](const auto& a, const auto& b) {
                             return a.second.bytes < b.second.bytes;
                           });
  if (whose == parked_by_.end()) return false;
  auto oldest = entries_.end();
  for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
    if (entry->first.first != whose->first || !entry->second.parked.has_value()) continue;
    if (oldest == entries_.end() || entry->second.parked->since < oldest->second.parked->since) oldest = entry;
  }
  dropped.push_back(TakeLocked(oldest));
  entries_.erase(oldest);
  return true;
}

UploadStore::Parked UploadStore::TakeLocked(Entries::iterator parked) {
  Parked taken = *std::exchange(parked->second.parked, std::nullopt);
  const auto own = parked_by_.find(parked->first.first);
  for (Account* account : {&parked_, &own->second}) {
    account->bytes -= taken.spool->bytes();
    --account->count;
  }
  if (own->second.count == 0) parked_by_.erase(own);
  return taken;
}

void UploadStore::Forget(const Principal& principal, const std::string& id) {
  Dropped dropped;
  absl::MutexLock lock(&mutex_);
  const auto found = entries_.find({principal.name, id});
  if (found == entries_.end() || !found->second.parked.has_value()) return;
  dropped.push_back(TakeLocked(found));
  entries_.erase(found);
}

bool UploadStore::DropOne() {
  Dropped dropped;
  absl::MutexLock lock(&mutex_);
  return DropOldestLocked(nullptr, dropped);
}

void UploadStore::DropExpired() {
  Dropped dropped;
  absl::MutexLock lock(&mutex_);
  const absl::Time now = clock_.Now();
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    const auto next = std::next(entry);
    const auto& parked = entry->second.parked;
    if (parked.has_value() && now - parked->since > limits_.park_time_max) {
      dropped.push_back(TakeLocked(entry));
      entries_.erase(entry);
    }
    entry = next;
  }
}

uint64_t UploadStore::parked_bytes() const {
  absl::MutexLock lock(&mutex_);
  return parked_.bytes;
}

}  // namespace quantd::server
