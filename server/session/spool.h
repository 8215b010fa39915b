// Where a tensor's scales, or its values, wait until a statistic of all of them is known.
#pragma once

#include <sys/types.h>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"

namespace quantd::server {

// The file operations of a spool; tests make them fail. Like their namesakes: negative and errno on failure.
struct SpoolFileOps {
  std::function<int(const std::string& directory)> open_unnamed;  // read-write, gone with its descriptor
  std::function<ssize_t(int, const void*, size_t, off_t)> pwrite;
  std::function<ssize_t(int, void*, size_t, off_t)> pread;

  static SpoolFileOps Real();
};

struct SpoolOptions {
  std::string directory;              // a real disk: the point is to keep this out of memory
  uint64_t bytes_max = 0;             // all spools together
  uint64_t bytes_per_stream_max = 0;  // of one spool: a stream's tensors need theirs one after another
  // A spool up to the first size needs no file, as long as all of these together stay within the second.
  uint64_t memory_bytes_per_spool_max = 1 << 20;
  uint64_t memory_bytes_max = 16 << 20;
};

class Spool;

// Counts what all spools of a server hold. Must outlive its spools. Safe from any thread.
class SpoolBudget {
 public:
  explicit SpoolBudget(SpoolOptions options, SpoolFileOps ops = SpoolFileOps::Real());

  // A spool of `bytes`, for one tensor, which could do without if the caller sent the `missing` statistics ("amax").
  // RESOURCE_EXHAUSTED with reason SPOOL_BUDGET (the message names the remedy) or SPOOL_FAILED (no file could be made).
  // Where the server's bytes do not suffice, `make_room` is called as long as it says that it has freed some.
  absl::StatusOr<std::unique_ptr<Spool>> Reserve(uint64_t bytes, const std::string& missing,
                                                 const std::function<bool()>& make_room = nullptr);

  uint64_t bytes_reserved() const;

 private:
  friend class Spool;
  // Whether in memory; nothing if there is no room.
  std::optional<bool> TryReserve(uint64_t bytes);
  void Release(uint64_t bytes, bool in_memory);

  const SpoolOptions options_;
  const SpoolFileOps ops_;
  mutable absl::Mutex mutex_;
  uint64_t bytes_reserved_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t memory_bytes_reserved_ ABSL_GUARDED_BY(mutex_) = 0;
};

// Bytes by position. Parts that do not overlap may be written and read from any threads at once.
class Spool {
 public:
  ~Spool();
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  uint64_t bytes() const { return bytes_; }

  // [offset, offset + size) must lie inside the spool.
  // RESOURCE_EXHAUSTED (full disk) or INTERNAL, with reason SPOOL_FAILED.
  absl::Status WriteAt(uint64_t offset, std::span<const std::byte> source);
  absl::Status ReadAt(uint64_t offset, std::span<std::byte> target) const;

 private:
  friend class SpoolBudget;
  Spool(SpoolBudget& budget, uint64_t bytes, std::string missing, int fd);

  SpoolBudget& budget_;
  const uint64_t bytes_;
  const std::string missing_;
  const int fd_;  // -1: in memory
  std::unique_ptr<std::byte[]> memory_;
};

}  // namespace quantd::server
