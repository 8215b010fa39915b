#include "client/cpp/retry.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"

namespace quantd {
namespace {

bool ShouldRetry(const AttemptResult& result) {
  if (!result.may_repeat || result.status.code() != absl::StatusCode::kUnavailable) return false;
  return !result.pushback.has_value() || *result.pushback >= absl::ZeroDuration();
}

// A connection that broke in the middle may well be made again; one that was never made, or a server that says so, not.
bool ServerIsGone(const AttemptResult& result) {
  const std::string reason = DetailsOf(result.status).reason;
  return reason == reason::kServerDraining || (reason.empty() && !result.answered);
}

}  // namespace

absl::Status RunWithRetries(const RetryPolicy& policy, const RetryEnvironment& environment,
                            const std::function<AttemptResult()>& attempt) {
  absl::Duration backoff = policy.first_backoff;
  for (uint32_t attempts = 1;; ++attempts) {
    AttemptResult result = attempt();
    if (result.advanced) {
      attempts = 1;
      backoff = policy.first_backoff;
    }
    if (!ShouldRetry(result) || attempts >= policy.attempts_max) return std::move(result.status);
    const absl::Duration delay = result.pushback.value_or(backoff * environment.uniform());
    if (delay >= environment.time_left()) return std::move(result.status);
    if (environment.move_on != nullptr && ServerIsGone(result)) environment.move_on();
    environment.sleep(delay);
    if (environment.cancelled()) return absl::CancelledError("The caller cancelled the call between two attempts.");
    backoff = std::min(backoff * policy.multiplier, policy.backoff_max);
  }
}

absl::Status ValidateRetryPolicy(const RetryPolicy& policy) {
  if (policy.attempts_max < 1) return absl::InvalidArgumentError("RetryPolicy.attempts_max must be at least 1.");
  if (policy.first_backoff < absl::ZeroDuration() || policy.backoff_max < policy.first_backoff) {
    return absl::InvalidArgumentError("RetryPolicy needs 0 <= first_backoff <= backoff_max.");
  }
  if (!(policy.multiplier >= 1)) return absl::InvalidArgumentError("RetryPolicy.multiplier must be at least 1.");
  return absl::OkStatus();
}

absl::Duration ParsePushback(const std::string& milliseconds) {
  int64_t value = 0;
  return absl::SimpleAtoi(milliseconds, &value) && value >= 0 ? absl::Milliseconds(value) : absl::Milliseconds(-1);
}

}  // namespace quantd
