#include "client/cpp/grpc_status.h"

#include "google/protobuf/any.pb.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/support/status.h"
#include "kernels/base/error.h"

namespace quantd {
namespace {

constexpr char kErrorDomain[] = "quantd";
constexpr int kCodeMax = static_cast<int>(absl::StatusCode::kUnauthenticated);

absl::StatusCode CodeNumbered(int code) {
  return code >= 0 && code <= kCodeMax ? static_cast<absl::StatusCode>(code) : absl::StatusCode::kUnknown;
}

absl::Duration ToDuration(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

RemoteError WithDetailsOf(const google::rpc::Status& rich, absl::Status status) {
  RemoteError error{std::move(status), std::nullopt};
  for (const google::protobuf::Any& detail : rich.details()) {
    google::rpc::ErrorInfo info;
    if (detail.UnpackTo(&info) && info.domain() == kErrorDomain) {
      ErrorDetails details{info.reason(), {}};
      for (const auto& [key, value] : info.metadata()) details.metadata.emplace_back(key, value);
      error.status = WithDetails(error.status, details);
    }
    google::rpc::RetryInfo retry;
    if (detail.UnpackTo(&retry) && retry.has_retry_delay()) error.retry_delay = ToDuration(retry.retry_delay());
  }
  return error;
}

}  // namespace

RemoteError FromGrpcStatus(const grpc::Status& status) {
  google::rpc::Status rich;
  if (!rich.ParseFromString(status.error_details())) rich.Clear();
  return WithDetailsOf(rich, absl::Status(CodeNumbered(status.error_code()), status.error_message()));
}

RemoteError FromResponseError(const google::rpc::Status& error) {
  absl::StatusCode code = CodeNumbered(error.code());
  if (code == absl::StatusCode::kOk) code = absl::StatusCode::kInternal;
  return WithDetailsOf(error, absl::Status(code, error.message()));
}

}  // namespace quantd
