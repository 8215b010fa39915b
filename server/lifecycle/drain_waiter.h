// How a drain lets time pass; tests move it instead.
#pragma once

#include "absl/time/time.h"

namespace quantd::server {

class DrainWaiter {
 public:
  virtual ~DrainWaiter() = default;
  // Returns after `duration`, or earlier with true if somebody wants the drain to end now.
  virtual bool WaitOrHurry(absl::Duration duration) = 0;
};

}  // namespace quantd::server
