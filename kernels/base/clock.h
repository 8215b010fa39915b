// Time as a parameter, so that tests move it.
#pragma once

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace quantd {

class Clock {
 public:
  virtual ~Clock() = default;
  // Never goes back. Safe from any thread.
  virtual absl::Time Now() const = 0;
};

class RealClock final : public Clock {
 public:
  // CLOCK_MONOTONIC as an absl::Time: differences are right, the date is not.
  absl::Time Now() const override;
};

}  // namespace quantd
