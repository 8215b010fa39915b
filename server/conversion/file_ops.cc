#include "server/conversion/file_ops.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace quantd::server {
namespace {

class RealFileOps final : public FileOps {
 public:
  ssize_t Pread(int fd, std::byte* target, size_t bytes, uint64_t offset) override {
    return ::pread(fd, target, bytes, static_cast<off_t>(offset));
  }
  ssize_t Pwrite(int fd, const std::byte* source, size_t bytes, uint64_t offset) override {
    return ::pwrite(fd, source, bytes, static_cast<off_t>(offset));
  }
  int Allocate(int fd, uint64_t bytes) override {
    // Not posix_fallocate: where the file system cannot allocate, that one writes every page.
    if (::fallocate(fd, 0, 0, static_cast<off_t>(bytes)) == 0) return 0;
    if (errno != EOPNOTSUPP && errno != ENOSYS) return -1;
    return ::ftruncate(fd, static_cast<off_t>(bytes));
  }
  int Fsync(int fd) override { return ::fsync(fd); }
  int Rename(const std::string& from, const std::string& to) override { return std::rename(from.c_str(), to.c_str()); }
};

}  // namespace

FileOps& SystemFileOps() {
  static RealFileOps ops;
  return ops;
}

absl::Status FileError(const std::string& action, int error_number) {
  const std::string message = absl::StrCat(action, ": ", std::strerror(error_number));
  switch (error_number) {
    case ENOENT:
    case ENOTDIR:
      return absl::NotFoundError(message);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(message);
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return absl::ResourceExhaustedError(
          absl::StrCat(message, "; free some space or write to another disk, nothing was left behind"));
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      return absl::ResourceExhaustedError(message);
    default:
      return absl::InternalError(message);
  }
}

}  // namespace quantd::server
