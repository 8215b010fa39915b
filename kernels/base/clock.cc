#include "kernels/base/clock.h"

#include <chrono>

namespace quantd {

absl::Time RealClock::Now() const {
  return absl::UnixEpoch() + absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
}

}  // namespace quantd
