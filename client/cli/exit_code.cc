#include "client/cli/exit_code.h"

#include "absl/strings/cord.h"

namespace quantd::cli {
namespace {

constexpr char kPayloadUrl[] = "quantctl/exit-code";

}  // namespace

absl::Status WithExitCode(absl::Status status, ExitCode code) {
  if (!status.ok() && !status.GetPayload(kPayloadUrl).has_value()) {
    status.SetPayload(kPayloadUrl, absl::Cord(std::to_string(static_cast<int>(code))));
  }
  return status;
}

ExitCode ExitCodeOf(const absl::Status& status) {
  if (status.ok()) return ExitCode::kOk;
  const auto payload = status.GetPayload(kPayloadUrl);
  if (!payload.has_value()) return ExitCode::kServer;
  return static_cast<ExitCode>(std::stoi(std::string(*payload)));
}

absl::Status UsageError(const std::string& message) {
  return WithExitCode(absl::InvalidArgumentError(message), ExitCode::kUsage);
}

}  // namespace quantd::cli
