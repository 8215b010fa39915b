#include "server/session/spool.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"

namespace quantd::server {
namespace {

int OpenUnnamed(const std::string& directory) {
  const int fd = open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)) return fd;
  std::string path = directory + "/quantd-spool-XXXXXX";  // file systems without O_TMPFILE
  const int named = mkostemp(path.data(), O_CLOEXEC);
  if (named >= 0) unlink(path.c_str());
  return named;
}

// What the caller can do about it.
std::string Remedy(const std::string& missing) {
  return "Send statistics." + missing + " in the header, so that nothing has to be kept";
}

absl::Status Failed(const char* what, const std::string& missing, int error) {
  const bool full = error == ENOSPC || error == EDQUOT || error == EFBIG;
  return MakeError(full ? absl::StatusCode::kResourceExhausted : absl::StatusCode::kInternal, reason::kSpoolFailed,
                   std::string("the server's spool cannot ") + what + ": " + std::strerror(error) + ". " +
                       Remedy(missing) + ", or ask the operator to look at spool_directory.");
}

}  // namespace

SpoolFileOps SpoolFileOps::Real() { return {OpenUnnamed, ::pwrite, ::pread}; }

SpoolBudget::SpoolBudget(SpoolOptions options, SpoolFileOps ops) : options_(std::move(options)), ops_(std::move(ops)) {}

absl::StatusOr<std::unique_ptr<Spool>> SpoolBudget::Reserve(uint64_t bytes, const std::string& missing,
                                                            const std::function<bool()>& make_room) {
  const auto refusal = [&](const char* whose, uint64_t limit_bytes) {
    return MakeError(absl::StatusCode::kResourceExhausted, reason::kSpoolBudget,
                     "what the server must keep of this tensor until its end takes " + std::to_string(bytes) +
                         " bytes, beyond the " + whose + " spool limit of " + std::to_string(limit_bytes) + " bytes. " +
                         Remedy(missing) + ".",
                     {{"spool_bytes", std::to_string(bytes)}, {"limit_bytes", std::to_string(limit_bytes)}});
  };
  if (bytes > options_.bytes_per_stream_max) return refusal("stream's", options_.bytes_per_stream_max);
  std::optional<bool> in_memory = TryReserve(bytes);
  const bool may_fit = bytes <= options_.bytes_max;
  while (!in_memory.has_value() && may_fit && make_room != nullptr && make_room()) in_memory = TryReserve(bytes);
  if (!in_memory.has_value()) return refusal("server's", options_.bytes_max);
  int fd = -1;
  if (!*in_memory) {
    fd = ops_.open_unnamed(options_.directory);
    if (fd < 0) {
      const int error = errno;
      Release(bytes, *in_memory);
      return Failed("make a file", missing, error);
    }
  }
  return std::unique_ptr<Spool>(new Spool(*this, bytes, missing, fd));
}

std::optional<bool> SpoolBudget::TryReserve(uint64_t bytes) {
  absl::MutexLock lock(&mutex_);
  if (bytes > options_.bytes_max - bytes_reserved_) return std::nullopt;
  bytes_reserved_ += bytes;
  const bool in_memory =
      bytes <= options_.memory_bytes_per_spool_max && bytes <= options_.memory_bytes_max - memory_bytes_reserved_;
  if (in_memory) memory_bytes_reserved_ += bytes;
  return in_memory;
}

uint64_t SpoolBudget::bytes_reserved() const {
  absl::MutexLock lock(&mutex_);
  return bytes_reserved_;
}

void SpoolBudget::Release(uint64_t bytes, bool in_memory) {
  absl::MutexLock lock(&mutex_);
  bytes_reserved_ -= bytes;
  if (in_memory) memory_bytes_reserved_ -= bytes;
}

Spool::Spool(SpoolBudget& budget, uint64_t bytes, std::string missing, int fd)
    : budget_(budget),
      bytes_(bytes),
      missing_(std::move(missing)),
      fd_(fd),
      memory_(fd < 0 ? new std::byte[bytes] : nullptr) {}

Spool::~Spool() {
  if (fd_ >= 0) close(fd_);
  budget_.Release(bytes_, fd_ < 0);
}

absl::Status Spool::WriteAt(uint64_t offset, std::span<const std::byte> source) {
  if (fd_ < 0) {
    std::copy(source.begin(), source.end(), memory_.get() + offset);
    return absl::OkStatus();
  }
  while (!source.empty()) {
    const ssize_t written = budget_.ops_.pwrite(fd_, source.data(), source.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return Failed("write", missing_, written < 0 ? errno : ENOSPC);
    source = source.subspan(static_cast<size_t>(written));
    offset += static_cast<uint64_t>(written);
  }
  return absl::OkStatus();
}

absl::Status Spool::ReadAt(uint64_t offset, std::span<std::byte> target) const {
  if (fd_ < 0) {
    std::copy_n(memory_.get() + offset, target.size(), target.begin());
    return absl::OkStatus();
  }
  while (!target.empty()) {
    const ssize_t read = budget_.ops_.pread(fd_, target.data(), target.size(), static_cast<off_t>(offset));
    if (read < 0 && errno == EINTR) continue;
    if (read <= 0) return Failed("read", missing_, read < 0 ? errno : EIO);
    target = target.subspan(static_cast<size_t>(read));
    offset += static_cast<uint64_t>(read);
  }
  return absl::OkStatus();
}

}  // namespace quantd::server
