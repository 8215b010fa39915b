#include "server/worker/restart_policy.h"

#include <algorithm>
#include <utility>

namespace quantd::server {

std::optional<absl::Duration> RestartPolicy::AfterLoss(LossKind kind, absl::Duration served) {
  if (kind == LossKind::kCannotStart || kind == LossKind::kNoBudget) return std::nullopt;
  if (served >= options_.healthy_after) {
    losses_ = 0;
    delay_ = options_.first_delay;
  }
  if (kind == LossKind::kFault && ++losses_ > options_.losses_max) return std::nullopt;
  return std::exchange(delay_, std::min(2 * delay_, options_.delay_max));
}

}  // namespace quantd::server
