// A limit on the part of the time in which a device works.
#pragma once

#include <algorithm>
#include <cstdint>

#include "absl/time/time.h"

namespace quantd::server {

// Time that the device may work flows in at a rate below that of the clock, is kept for one second at most, and is used
// up while units are in flight, be they one or many. Not thread-safe.
class DutyCycle {
 public:
  // 100: no limit.
  explicit DutyCycle(uint32_t percent_max)
      : rate_(static_cast<double>(percent_max) / 100), time_left_(rate_ * absl::Seconds(1)) {}

  // False: it has worked its part. A unit that begins with little left ends late, and what follows waits the longer.
  bool MayBegin(absl::Time now) {
    Advance(now);
    return rate_ >= 1 || time_left_ > absl::ZeroDuration();
  }
  void Begin(absl::Time now) {
    Advance(now);
    ++units_;
  }
  void End(absl::Time now) {
    Advance(now);
    --units_;
  }

 private:
  void Advance(absl::Time now) {
    if (now <= advanced_to_) return;
    const absl::Duration passed = advanced_to_ == absl::InfinitePast() ? absl::ZeroDuration() : now - advanced_to_;
    advanced_to_ = now;
    const double rate = units_ > 0 ? rate_ - 1 : rate_;
    time_left_ = std::min(time_left_ + rate * passed, rate_ * absl::Seconds(1));
  }

  const double rate_;
  uint32_t units_ = 0;
  absl::Duration time_left_;
  absl::Time advanced_to_ = absl::InfinitePast();
};

}  // namespace quantd::server
