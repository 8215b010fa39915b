// The only way from the project's errors to gRPC's: google.rpc.Status with ErrorInfo and its companions.
#pragma once

#include "absl/status/status.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/support/status.h"

namespace quantd::server {

// Bytes of a serialized error at most: with the rest of a response's trailers it must fit the 8 KiB that gRPC grants
// metadata.
inline constexpr size_t kErrorBytesMax = 4096;

// How long a client should wait before it tries again, where the error is one that passes and does not say how long
// itself.
inline constexpr int64_t kRetryDelayMs = 1000;

// What the error says, else kRetryDelayMs.
int64_t RetryDelayMsOf(const absl::Status& status);

// The trailing metadata that says so to gRPC's own retries, in milliseconds; -1: do not try again.
inline constexpr char kRetryPushbackKey[] = "grpc-retry-pushback-ms";

// The error with ErrorInfo{reason, domain "quantd", metadata}; BadRequest names the field for INVALID_ARGUMENT,
// RetryInfo the delay for UNAVAILABLE, QuotaFailure the limit for RESOURCE_EXHAUSTED. Long texts are cut, so that it
// stays within kErrorBytesMax.
google::rpc::Status ToRpcStatus(const absl::Status& status);

// The same as an RPC's own status.
grpc::Status ToGrpcStatus(const absl::Status& status);

}  // namespace quantd::server
