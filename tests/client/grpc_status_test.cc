#include "client/cpp/grpc_status.h"

#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/support/status.h"
#include "gtest/gtest.h"
#include "kernels/base/error.h"

namespace quantd {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

google::rpc::Status RichStatus(const std::string& domain) {
  google::rpc::Status rich;
  rich.set_code(8);
  rich.set_message("no");
  google::rpc::ErrorInfo info;
  info.set_domain(domain);
  info.set_reason("PRINCIPAL_STREAMS");
  (*info.mutable_metadata())["limit"] = "128";
  rich.add_details()->PackFrom(info);
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(1);
  retry.mutable_retry_delay()->set_nanos(500'000'000);
  rich.add_details()->PackFrom(retry);
  return rich;
}

TEST(FromGrpcStatus, KeepsEveryCodeAndMessage) {
  for (int code = 0; code <= 16; ++code) {
    const absl::Status status = FromGrpcStatus(grpc::Status(static_cast<grpc::StatusCode>(code), "words")).status;
    EXPECT_EQ(static_cast<int>(status.code()), code);
    EXPECT_EQ(std::string(status.message()), code == 0 ? "" : "words");
  }
}

TEST(FromGrpcStatus, MakesCodesThatNobodyKnowsUnknown) {
  for (int code : {-1, 17, 31}) {  // the enumeration's type holds no larger one
    const grpc::Status status(static_cast<grpc::StatusCode>(code), "odd");
    EXPECT_EQ(FromGrpcStatus(status).status.code(), absl::StatusCode::kUnknown);
  }
}

TEST(FromGrpcStatus, CarriesReasonMetadataAndDelay) {
  const grpc::Status status(grpc::RESOURCE_EXHAUSTED, "no", RichStatus("quantd").SerializeAsString());
  const RemoteError error = FromGrpcStatus(status);
  EXPECT_EQ(DetailsOf(error.status).reason, "PRINCIPAL_STREAMS");
  EXPECT_THAT(DetailsOf(error.status).metadata, ElementsAre(Pair("limit", "128")));
  EXPECT_EQ(error.retry_delay, absl::Milliseconds(1500));
}

TEST(FromGrpcStatus, LeavesReasonsOfOtherDomainsOut) {
  const grpc::Status status(grpc::UNAVAILABLE, "no", RichStatus("proxy.example").SerializeAsString());
  EXPECT_EQ(DetailsOf(FromGrpcStatus(status).status).reason, "");
}

TEST(FromGrpcStatus, LeavesDetailsOutThatCannotBeRead) {
  const RemoteError error = FromGrpcStatus(grpc::Status(grpc::UNAVAILABLE, "no", "\xFF\xFF"));
  EXPECT_EQ(error.status, absl::UnavailableError("no"));
  EXPECT_FALSE(error.retry_delay.has_value());
}

TEST(FromResponseError, CarriesTheSameThings) {
  const RemoteError error = FromResponseError(RichStatus("quantd"));
  EXPECT_EQ(error.status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(std::string(error.status.message()), "no");
  EXPECT_EQ(DetailsOf(error.status).reason, "PRINCIPAL_STREAMS");
  EXPECT_EQ(error.retry_delay, absl::Milliseconds(1500));
}

TEST(FromResponseError, IsAnErrorEvenWhenItSaysOk) {
  EXPECT_EQ(FromResponseError({}).status.code(), absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace quantd
