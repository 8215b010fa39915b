// When a worker that was lost is started again, and when no more.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/time/time.h"

namespace quantd::server {

struct RestartOptions {
  absl::Duration first_delay = absl::Milliseconds(500);  // doubles with every loss in a row
  absl::Duration delay_max = absl::Seconds(60);
  absl::Duration healthy_after = absl::Seconds(60);  // of serving: earlier losses do not count any more
  uint32_t losses_max = 5;                           // in a row: the next one ends it
};

enum class LossKind : uint8_t {
  kFault,        // crashed, hung, computed wrong bytes, or could not start
  kNoMemory,     // the device's memory is taken by others, who may give it back: never ends it
  kCannotStart,  // there is no such program: ends it at once
  kNoBudget,     // the budget is too small for any batch: ends it at once
};

class RestartPolicy {
 public:
  explicit RestartPolicy(const RestartOptions& options) : options_(options) {}

  // How long to wait before the next start; nothing if there shall be none. `served`: since it was ready, zero if it
  // never was.
  std::optional<absl::Duration> AfterLoss(LossKind kind, absl::Duration served);

 private:
  const RestartOptions options_;
  uint32_t losses_ = 0;  // in a row
  absl::Duration delay_ = options_.first_delay;
};

}  // namespace quantd::server
