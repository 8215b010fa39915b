#include "server/rpc/grpc_status.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/numbers.h"
#include "google/rpc/error_details.pb.h"
#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "kernels/base/utf8.h"
#include "server/session/retry_delay.h"

namespace quantd::server {
namespace {

constexpr char kDomain[] = "quantd";
constexpr size_t kMessageBytesMax = 1024;
constexpr size_t kMetadataEntriesMax = 8;
constexpr size_t kMetadataBytesMax = 128;  // of one value

// The request field that a reason speaks of.
constexpr std::pair<std::string_view, const char*> kFields[] = {
    {reason::kUnknownScheme, "header.scheme.preset"},
    {reason::kUnknownRevision, "header.scheme.format_revision"},
    {reason::kInvalidOverride, "header.scheme.overrides"},
    {reason::kInvalidDtype, "header.dtype"},
    {reason::kInvalidShape, "header.shape"},
    {reason::kInvalidName, "header.name"},
    {reason::kUnalignedRange, "header.range"},
    {reason::kUnusedStatistic, "header.statistics"},
    {reason::kStatisticNeeded, "header.statistics"},
    {reason::kInvalidStatistic, "header.statistics"},
    {reason::kNonfiniteInput, "data"},
    {reason::kMalformedFrame, "data"},
    {reason::kFrameTooLarge, "data"},
    {reason::kUnexpectedTensor, "tensor_seq"},
    {reason::kUnknownSegment, "pieces.segment"},
    {reason::kUnexpectedOffset, "pieces.offset"},
    {reason::kSegmentOrder, "pieces"},
    {reason::kSegmentTooLong, "pieces.length"},
    {reason::kIncompleteTensor, "last"},
    {reason::kMissingChecksum, "pieces.crc32c"},
    {reason::kInvalidCalibration, "calibration"},
    {reason::kInvalidStatisticsConfig, "configuration"},
    {reason::kIncompatibleStatistics, "header"},
    {reason::kInvalidRangeRequest, "range"},
    {reason::kMalformedQcal, "data"},
};

// Cut between characters; what is no UTF-8 becomes '?'. Clients refuse a message with anything else in a string.
std::string Cut(std::string_view text, size_t bytes_max) {
  std::string clean;
  while (!text.empty()) {
    const size_t bytes = Utf8CharacterBytes(text);
    const std::string_view character = bytes == 0 ? "?" : text.substr(0, bytes);
    if (clean.size() + character.size() > bytes_max) break;
    clean += character;
    text.remove_prefix(character.size());
  }
  return clean;
}

std::string MessageOf(const absl::Status& status) {
  return Cut(std::string_view(status.message().data(), status.message().size()), kMessageBytesMax);
}

void AddErrorInfo(const ErrorDetails& details, google::rpc::Status& rpc) {
  google::rpc::ErrorInfo info;
  info.set_reason(details.reason);
  info.set_domain(kDomain);
  const size_t entries = std::min(details.metadata.size(), kMetadataEntriesMax);
  for (size_t i = 0; i < entries; ++i) {
    const auto& [key, value] = details.metadata[i];
    (*info.mutable_metadata())[key] = Cut(value, kMetadataBytesMax);
  }
  rpc.add_details()->PackFrom(info);
}

void AddBadRequest(const ErrorDetails& details, google::rpc::Status& rpc) {
  const auto* field =
      std::find_if(std::begin(kFields), std::end(kFields), [&](const auto& f) { return f.first == details.reason; });
  if (field == std::end(kFields)) return;
  google::rpc::BadRequest bad_request;
  bad_request.add_field_violations()->set_field(field->second);
  rpc.add_details()->PackFrom(bad_request);
}

void AddRetryInfo(int64_t delay_ms, google::rpc::Status& rpc) {
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(delay_ms / 1000);
  retry.mutable_retry_delay()->set_nanos(static_cast<int32_t>(delay_ms % 1000 * 1'000'000));
  rpc.add_details()->PackFrom(retry);
}

void AddQuotaFailure(const ErrorDetails& details, google::rpc::Status& rpc) {
  google::rpc::QuotaFailure quota;
  quota.add_violations()->set_subject(details.reason);
  rpc.add_details()->PackFrom(quota);
}

}  // namespace

int64_t RetryDelayMsOf(const absl::Status& status) {
  const ErrorDetails details = DetailsOf(status);
  const auto said = std::find_if(details.metadata.begin(), details.metadata.end(),
                                 [](const auto& entry) { return entry.first == kRetryDelayKey; });
  int64_t delay_ms = 0;
  return said != details.metadata.end() && absl::SimpleAtoi(said->second, &delay_ms) ? delay_ms : kRetryDelayMs;
}

google::rpc::Status ToRpcStatus(const absl::Status& status) {
  google::rpc::Status rpc;
  rpc.set_code(static_cast<int>(status.code()));
  rpc.set_message(MessageOf(status));
  const ErrorDetails details = DetailsOf(status);
  if (details.reason.empty()) return rpc;
  AddErrorInfo(details, rpc);
  if (status.code() == absl::StatusCode::kInvalidArgument) AddBadRequest(details, rpc);
  if (status.code() == absl::StatusCode::kUnavailable) AddRetryInfo(RetryDelayMsOf(status), rpc);
  if (status.code() == absl::StatusCode::kResourceExhausted) AddQuotaFailure(details, rpc);
  return rpc;
}

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  return {static_cast<grpc::StatusCode>(status.code()), MessageOf(status), ToRpcStatus(status).SerializeAsString()};
}

}  // namespace quantd::server
