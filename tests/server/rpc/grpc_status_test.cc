#include "server/rpc/grpc_status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "google/protobuf/util/message_differencer.h"
#include "google/rpc/error_details.pb.h"
#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"

namespace quantd::server {
namespace {

template <class T>
std::vector<T> DetailsOfType(const google::rpc::Status& status) {
  std::vector<T> details;
  for (const auto& any : status.details()) {
    if (T detail; any.UnpackTo(&detail)) details.push_back(detail);
  }
  return details;
}

// As a client that is strict about strings: proto3 parsers refuse what is no UTF-8.
void ExpectParses(const google::rpc::Status& status) {
  google::rpc::Status parsed;
  EXPECT_TRUE(parsed.ParseFromString(status.SerializeAsString()));
  for (const auto& any : status.details()) {
    if (!any.Is<google::rpc::ErrorInfo>()) continue;
    google::rpc::ErrorInfo info;
    EXPECT_TRUE(any.UnpackTo(&info));
  }
}

TEST(GrpcStatus, OkIsOk) {
  EXPECT_TRUE(ToGrpcStatus(absl::OkStatus()).ok());
  EXPECT_EQ(ToRpcStatus(absl::OkStatus()).code(), 0);
}

TEST(GrpcStatus, EveryCodeHasItsNumber) {
  for (int code = 1; code <= 16; ++code) {
    const absl::Status status(static_cast<absl::StatusCode>(code), "why");
    EXPECT_EQ(ToRpcStatus(status).code(), code);
    const grpc::Status rpc = ToGrpcStatus(status);
    EXPECT_EQ(static_cast<int>(rpc.error_code()), code);
    EXPECT_EQ(rpc.error_message(), "why");
  }
  EXPECT_EQ(ToRpcStatus(absl::Status(static_cast<absl::StatusCode>(99), "why")).code(),
            static_cast<int>(absl::StatusCode::kUnknown));
}

TEST(GrpcStatus, AnErrorWithoutAReasonHasNoDetails) {
  EXPECT_EQ(ToRpcStatus(absl::InternalError("why")).details_size(), 0);
}

TEST(GrpcStatus, ErrorInfoHasReasonDomainAndMetadata) {
  const auto rpc =
      ToRpcStatus(InvalidArgument(reason::kUnexpectedOffset, "why", {{"offset", "8"}, {"expected_offset", "4"}}));
  const auto infos = DetailsOfType<google::rpc::ErrorInfo>(rpc);
  ASSERT_EQ(infos.size(), 1u);
  EXPECT_EQ(infos[0].reason(), "UNEXPECTED_OFFSET");
  EXPECT_EQ(infos[0].domain(), "quantd");
  EXPECT_EQ(infos[0].metadata().at("offset"), "8");
  EXPECT_EQ(infos[0].metadata().at("expected_offset"), "4");
}

TEST(GrpcStatus, BadRequestNamesTheField) {
  const auto violations =
      DetailsOfType<google::rpc::BadRequest>(ToRpcStatus(InvalidArgument(reason::kInvalidShape, "why")));
  ASSERT_EQ(violations.size(), 1u);
  ASSERT_EQ(violations[0].field_violations_size(), 1);
  EXPECT_EQ(violations[0].field_violations(0).field(), "header.shape");
}

TEST(GrpcStatus, EveryCallersFaultNamesAField) {
  const std::string_view reasons[] = {
      reason::kUnknownScheme,   reason::kUnknownRevision,  reason::kInvalidOverride,  reason::kInvalidDtype,
      reason::kInvalidShape,    reason::kInvalidName,      reason::kUnalignedRange,   reason::kUnusedStatistic,
      reason::kStatisticNeeded, reason::kInvalidStatistic, reason::kNonfiniteInput,   reason::kMalformedFrame,
      reason::kFrameTooLarge,   reason::kUnexpectedTensor, reason::kUnknownSegment,   reason::kUnexpectedOffset,
      reason::kSegmentOrder,    reason::kSegmentTooLong,   reason::kIncompleteTensor, reason::kMissingChecksum};
  for (const std::string_view reason : reasons) {
    EXPECT_EQ(DetailsOfType<google::rpc::BadRequest>(ToRpcStatus(InvalidArgument(reason, "why"))).size(), 1u) << reason;
  }
}

TEST(GrpcStatus, UnavailableSaysWhenToTryAgain) {
  const auto rpc = ToRpcStatus(MakeError(absl::StatusCode::kUnavailable, reason::kServerDraining, "why"));
  const auto retries = DetailsOfType<google::rpc::RetryInfo>(rpc);
  ASSERT_EQ(retries.size(), 1u);
  EXPECT_EQ(retries[0].retry_delay().seconds() * 1000 + retries[0].retry_delay().nanos() / 1'000'000, kRetryDelayMs);
  EXPECT_TRUE(DetailsOfType<google::rpc::BadRequest>(rpc).empty());
}

TEST(GrpcStatus, TheDelayIsTheErrorsOwnWhereItHasOne) {
  const absl::Status status =
      MakeError(absl::StatusCode::kUnavailable, reason::kServerLoad, "why", {{"retry_delay_ms", "2750"}});
  EXPECT_EQ(RetryDelayMsOf(status), 2750);
  const auto retries = DetailsOfType<google::rpc::RetryInfo>(ToRpcStatus(status));
  ASSERT_EQ(retries.size(), 1u);
  EXPECT_EQ(retries[0].retry_delay().seconds(), 2);
  EXPECT_EQ(retries[0].retry_delay().nanos(), 750'000'000);
}

TEST(GrpcStatus, ResourceExhaustedNamesTheQuota) {
  const auto quotas = DetailsOfType<google::rpc::QuotaFailure>(
      ToRpcStatus(MakeError(absl::StatusCode::kResourceExhausted, reason::kSpoolBudget, "why")));
  ASSERT_EQ(quotas.size(), 1u);
  ASSERT_EQ(quotas[0].violations_size(), 1);
  EXPECT_EQ(quotas[0].violations(0).subject(), "SPOOL_BUDGET");
}

TEST(GrpcStatus, TheRpcsOwnStatusCarriesTheSameDetails) {
  const absl::Status status = InvalidArgument(reason::kInvalidShape, "why", {{"limit_bytes", "7"}});
  google::rpc::Status parsed;
  ASSERT_TRUE(parsed.ParseFromString(ToGrpcStatus(status).error_details()));
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(parsed, ToRpcStatus(status)));
}

TEST(GrpcStatus, LongTextsAreCut) {
  ErrorDetails details{std::string(reason::kSpoolBudget), {}};
  for (int i = 0; i < 50; ++i) details.metadata.emplace_back("key_" + std::to_string(i), std::string(100'000, 'v'));
  for (const absl::StatusCode code : {absl::StatusCode::kInvalidArgument, absl::StatusCode::kUnavailable,
                                      absl::StatusCode::kResourceExhausted, absl::StatusCode::kInternal}) {
    const absl::Status status = WithDetails(absl::Status(code, std::string(1'000'000, 'm')), details);
    const auto rpc = ToRpcStatus(status);
    EXPECT_LE(rpc.ByteSizeLong(), kErrorBytesMax);
    EXPECT_GE(rpc.message().size(), 1000u) << "most of what fits stays";
    EXPECT_EQ(DetailsOfType<google::rpc::ErrorInfo>(rpc).size(), 1u);
    const grpc::Status grpc_status = ToGrpcStatus(status);
    EXPECT_LE(grpc_status.error_message().size(), 1024u);
    EXPECT_LE(grpc_status.error_details().size(), kErrorBytesMax);
  }
}

TEST(GrpcStatus, TextsAreCutBetweenCharacters) {
  for (const std::string character : {"\u00e9", "\u20ac", "\U0001f642"}) {
    for (size_t shift = 0; shift < 4; ++shift) {
      std::string text(shift, 'a');
      while (text.size() < 3000) text += character;
      const auto rpc = ToRpcStatus(InvalidArgument(reason::kUnknownScheme, text, {{"preset", text}}));
      EXPECT_EQ((rpc.message().size() - shift) % character.size(), 0u);
      EXPECT_GT(rpc.message().size(), 1024 - character.size());
      EXPECT_LE(rpc.message().size(), 1024u);
      ExpectParses(rpc);
    }
  }
}

TEST(GrpcStatus, WhatIsNoUtf8BecomesAQuestionMark) {
  const std::pair<std::string, std::string> cases[] = {
      {"\xff", "?"},
      {"a\x80z", "a?z"},
      {"cut \xc3", "cut ?"},
      {"cut \xe2\x82", "cut ??"},
      {"\xc0\xaf", "??"},            // overlong
      {"\xe0\x9f\xbf", "???"},       // overlong
      {"\xed\xa0\x80", "???"},       // a surrogate
      {"\xf4\x90\x80\x80", "????"},  // beyond the last character
      {"\xf5\x80\x80\x80", "????"},
      {"\xe2\x28\xa1", "?(?"},
      {"\xf0\x9f\x99\x82 \xed\x9f\xbf \xf4\x8f\xbf\xbf", "\xf0\x9f\x99\x82 \xed\x9f\xbf \xf4\x8f\xbf\xbf"},
  };
  for (const auto& [text, clean] : cases) {
    const auto rpc = ToRpcStatus(InvalidArgument(reason::kUnknownScheme, text, {{"preset", text}}));
    EXPECT_EQ(rpc.message(), clean);
    EXPECT_EQ(DetailsOfType<google::rpc::ErrorInfo>(rpc).at(0).metadata().at("preset"), clean);
    ExpectParses(rpc);
  }
}

}  // namespace
}  // namespace quantd::server
