// When to try again, and how long to wait before. Knows no clock, no randomness and no gRPC.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/cpp/client.h"

namespace quantd {

// How one attempt ended.
struct AttemptResult {
  absl::Status status;
  bool may_repeat = false;                 // the server or the connection ended it, not the caller
  std::optional<absl::Duration> pushback;  // the server's wish; a negative one forbids to retry
  bool advanced = false;                   // brought results that were not there before
  bool answered = false;                   // the server was there: it accepted the tensor
};

// What the loop needs of the world.
struct RetryEnvironment {
  std::function<double()> uniform;            // in [0, 1)
  std::function<void(absl::Duration)> sleep;  // may return early when the call is cancelled
  std::function<absl::Duration()> time_left;  // until the deadline of the whole call
  // The server is gone or goes: what is tried next may be another. Null: there is no other.
  std::function<void()> move_on = nullptr;
  std::function<bool()> cancelled;
};

// Runs `attempt` until one succeeds, fails for good, or the policy, the deadline or the caller ends it. The policy's
// attempts and delays begin anew with every attempt that advanced. A delay that
// would pass the deadline is not waited for: the refusal itself is returned, it says more than DEADLINE_EXCEEDED.
absl::Status RunWithRetries(const RetryPolicy& policy, const RetryEnvironment& environment,
                            const std::function<AttemptResult()>& attempt);

// INVALID_ARGUMENT for a policy out of range.
absl::Status ValidateRetryPolicy(const RetryPolicy& policy);

// The value of the trailing metadata `grpc-retry-pushback-ms`: as gRPC has it, what cannot be read forbids to retry.
absl::Duration ParsePushback(const std::string& milliseconds);

}  // namespace quantd
