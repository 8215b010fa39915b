// Errors that a machine can read: an absl::Status with a reason and a few named values.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"

namespace quantd {

// Why something failed, as google.rpc.ErrorInfo.reason. kernels/base/error_reason.h lists all of them.
struct ErrorDetails {
  std::string reason;
  std::vector<std::pair<std::string, std::string>> metadata;
};

// A status whose message says what to do next, with a reason that clients can branch on.
// `metadata` holds small named facts ("limit_bytes", "4128768"); keys are lower_snake_case.
absl::Status MakeError(absl::StatusCode code, std::string_view reason, const std::string& message,
                       std::initializer_list<std::pair<std::string_view, std::string>> metadata = {});

// MakeError with INVALID_ARGUMENT: the caller's fault.
absl::Status InvalidArgument(std::string_view reason, const std::string& message,
                             std::initializer_list<std::pair<std::string_view, std::string>> metadata = {});

// The details that MakeError attached; an empty reason if there are none.
ErrorDetails DetailsOf(const absl::Status& status);

// The same details on a new status.
absl::Status WithDetails(absl::Status status, const ErrorDetails& details);

}  // namespace quantd
