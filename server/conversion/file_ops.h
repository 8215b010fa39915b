// The few system calls of the safetensors code, so that tests can make them fail.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace quantd::server {

// Each call behaves as the system call of its name: -1 and errno for a failure, short counts are legal.
class FileOps {
 public:
  virtual ~FileOps() = default;

  virtual ssize_t Pread(int fd, std::byte* target, size_t bytes, uint64_t offset) = 0;
  virtual ssize_t Pwrite(int fd, const std::byte* source, size_t bytes, uint64_t offset) = 0;
  // Gives the file its size and, where the file system can, its disk space.
  virtual int Allocate(int fd, uint64_t bytes) = 0;
  virtual int Fsync(int fd) = 0;
  virtual int Rename(const std::string& from, const std::string& to) = 0;
};

// The system's own. Lives as long as the program; safe from any thread.
FileOps& SystemFileOps();

// The status of a failed system call: NOT_FOUND, PERMISSION_DENIED, RESOURCE_EXHAUSTED (disk, quota, descriptors) or
// INTERNAL. `action` is what failed, as "cannot write 'x.safetensors'".
absl::Status FileError(const std::string& action, int error_number);

}  // namespace quantd::server
