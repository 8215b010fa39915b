// What the server said went wrong, as an absl::Status with quantd's reason.
#pragma once

#include <optional>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace grpc {
class Status;
}
namespace google::rpc {
class Status;
}

namespace quantd {

struct RemoteError {
  absl::Status status;                        // with quantd::ErrorDetails where the server gave a reason
  std::optional<absl::Duration> retry_delay;  // RetryInfo's
};

// Total: a code that gRPC does not know is UNKNOWN, details that cannot be read are left out.
RemoteError FromGrpcStatus(const grpc::Status& status);

// The same of an error in a response. OK is no error there: it becomes INTERNAL.
RemoteError FromResponseError(const google::rpc::Status& error);

}  // namespace quantd
