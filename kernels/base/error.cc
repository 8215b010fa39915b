#include "kernels/base/error.h"

#include "absl/strings/cord.h"
#include "absl/strings/str_split.h"

namespace quantd {
namespace {

constexpr char kPayloadUrl[] = "quantd/error-details";

// Payloads are "reason\0key\0value\0key\0value": neither reasons nor keys nor values hold a NUL.
constexpr char kSeparator = '\0';

std::string WithoutSeparator(std::string_view text) {
  std::string clean(text);
  for (char& c : clean) {
    if (c == kSeparator) c = '?';
  }
  return clean;
}

}  // namespace

absl::Status MakeError(absl::StatusCode code, std::string_view reason, const std::string& message,
                       std::initializer_list<std::pair<std::string_view, std::string>> metadata) {
  ErrorDetails details{std::string(reason), {}};
  for (const auto& [key, value] : metadata) details.metadata.emplace_back(std::string(key), value);
  return WithDetails(absl::Status(code, message), details);
}

absl::Status InvalidArgument(std::string_view reason, const std::string& message,
                             std::initializer_list<std::pair<std::string_view, std::string>> metadata) {
  return MakeError(absl::StatusCode::kInvalidArgument, reason, message, metadata);
}

ErrorDetails DetailsOf(const absl::Status& status) {
  ErrorDetails details;
  const auto payload = status.GetPayload(kPayloadUrl);
  if (!payload.has_value()) return details;
  const std::vector<std::string> parts = absl::StrSplit(std::string(*payload), kSeparator);
  details.reason = parts.front();
  for (size_t i = 1; i + 1 < parts.size(); i += 2) details.metadata.emplace_back(parts[i], parts[i + 1]);
  return details;
}

absl::Status WithDetails(absl::Status status, const ErrorDetails& details) {
  std::string payload = WithoutSeparator(details.reason);
  for (const auto& [key, value] : details.metadata) {
    payload += kSeparator + WithoutSeparator(key) + kSeparator + WithoutSeparator(value);
  }
  status.SetPayload(kPayloadUrl, absl::Cord(payload));
  return status;
}

}  // namespace quantd
