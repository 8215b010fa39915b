// A limit on a rate.
#pragma once

#include <algorithm>
#include <cstdint>

#include "absl/time/time.h"

namespace quantd::server {

// Holds what flows in during one second at most. Not thread-safe.
class TokenBucket {
 public:
  // 0: no limit.
  explicit TokenBucket(uint64_t tokens_per_second) : rate_(static_cast<double>(tokens_per_second)), tokens_(rate_) {}

  // Takes them if there are any: the last ones may be more than there are, so that what is larger than the bucket can
  // pass, and what follows waits the longer.
  bool TryTake(uint64_t tokens, absl::Time now) {
    if (rate_ == 0) return true;
    tokens_ =
        std::min(rate_, tokens_ + rate_ * absl::ToDoubleSeconds(std::max(now - filled_at_, absl::ZeroDuration())));
    filled_at_ = now;
    if (tokens_ <= 0) return false;
    tokens_ -= static_cast<double>(tokens);
    return true;
  }

 private:
  const double rate_;
  double tokens_;
  absl::Time filled_at_ = absl::InfinitePast();
};

}  // namespace quantd::server
