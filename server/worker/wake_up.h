// Ends another thread's poll.
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>

#include "server/session/file_descriptor.h"

namespace quantd::server {

class WakeUp {
 public:
  // Without a descriptor left, whoever polls wakes at its own timeouts only.
  WakeUp() : event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

  void Notify() const {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = write(event_.get(), &one, sizeof(one));
  }
  // Readable after Notify, until Clear.
  int descriptor() const { return event_.get(); }
  void Clear() const {
    uint64_t count = 0;
    [[maybe_unused]] const ssize_t taken = read(event_.get(), &count, sizeof(count));
  }

 private:
  FileDescriptor event_;
};

}  // namespace quantd::server
