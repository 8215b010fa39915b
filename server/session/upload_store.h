// What a broken connection leaves of a tensor of two passes, until a new stream goes on with it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "kernels/backend/backend.h"
#include "kernels/base/clock.h"
#include "kernels/scheme/scale_mean.h"
#include "server/session/frame.h"
#include "server/session/limits.h"
#include "server/session/principal.h"
#include "server/session/spool.h"

namespace quantd::server {

// Uploads that are parked at once, whatever their bytes: each may have a file open.
inline constexpr size_t kParkedUploadsMax = 256;

// How far a tensor's first pass is.
struct UploadProgress {
  uint64_t counted_units = 0;  // units [0, counted_units) are in the spool and in the statistics
  BatchResult found;
  ScaleMean scale_mean;
};

// Uploads by principal and id: each is either some stream's, or parked. Safe from any thread. Must outlive its leases;
// `limits`, `clock` and the budget of the spools must outlive it.
class UploadStore {
 public:
  using Key = std::pair<std::string, std::string>;  // principal, id
  struct Parked {
    TensorRequest request;  // less what it says of the upload
    std::unique_ptr<Spool> spool;
    UploadProgress progress;
    absl::Time since;
  };

  // The right to go on with an upload: a tensor's, and that of its runs, which write to the spool. When the last of
  // them is gone, the upload is parked or forgotten, whichever was said last; by default what was resumed is parked
  // again, and what was begun is forgotten.
  class Lease {
   public:
    ~Lease();
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;

    Spool& spool() { return *upload_.spool; }
    // Where the last stream had come to.
    const UploadProgress& progress() const { return upload_.progress; }
    // Both by the tensor only.
    void Keep(const UploadProgress& progress);
    void Forget() { kept_ = false; }
    // Another stream wants to go on with this upload, or begins it anew.
    bool superseded() const { return superseded_.load(std::memory_order_relaxed); }

   private:
    friend class UploadStore;
    Lease(UploadStore& store, Key key, Parked upload, bool kept);

    UploadStore& store_;
    const Key key_;
    Parked upload_;
    bool kept_;
    std::atomic<bool> superseded_ = false;
  };

  UploadStore(const Limits& limits, const Clock& clock, std::string server_instance, uint64_t epoch);

  // INVALID_ARGUMENT with reason INVALID_UPLOAD for an id that is too short, too long, or has other characters.
  static absl::Status CheckId(const std::string& id);

  // A tensor from its start. What was under its id before is forgotten: parked, at once; a stream's, when it ends.
  std::shared_ptr<Lease> Begin(const Principal& principal, const TensorRequest& request, std::unique_ptr<Spool> spool);
  // The rest of one. Reasons:
  // - UPLOAD_ELSEWHERE, ABORTED: it was begun in another server process;
  // - UPLOAD_UNKNOWN, FAILED_PRECONDITION: nothing is kept of it for this principal, or not any more;
  // - UPLOAD_MISMATCH, FAILED_PRECONDITION: its header was another one;
  // - UPLOAD_BUSY, UNAVAILABLE: its last stream is not yet over. That stream is superseded: try again soon.
  absl::StatusOr<std::shared_ptr<Lease>> Resume(const Principal& principal, const TensorRequest& request);

  // What is parked under this id is not needed any more. Has no effect on what a stream has.
  void Forget(const Principal& principal, const std::string& id);
  // Forgets a parked upload, for spools that are needed now: the oldest of the principal that has most bytes here.
  // False if there is none.
  bool DropOne();
  // Forgets what has been parked for longer than limits.park_time_max. To be called now and then.
  void DropExpired();

  // Of parked spools.
  uint64_t parked_bytes() const;

 private:
  struct Entry {
    Lease* lease = nullptr;  // null: parked
    std::optional<Parked> parked;
  };
  struct Account {
    uint64_t bytes = 0;
    size_t count = 0;
  };
  using Entries = std::map<Key, Entry>;
  using Dropped = std::vector<Parked>;  // whose spools close outside of the lock

  void Return(Lease& lease);
  Parked TakeLocked(Entries::iterator parked) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // False if nothing is parked by this principal; by anybody if it is null.
  bool DropOldestLocked(const std::string* principal, Dropped& dropped) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool MakeRoomLocked(const std::string& principal, uint64_t bytes, Dropped& dropped)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Limits& limits_;
  const Clock& clock_;
  const std::string server_instance_;
  const uint64_t epoch_;
  mutable absl::Mutex mutex_;
  Entries entries_ ABSL_GUARDED_BY(mutex_);
  Account parked_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Account> parked_by_ ABSL_GUARDED_BY(mutex_);  // of principals that have something parked
};

}  // namespace quantd::server
