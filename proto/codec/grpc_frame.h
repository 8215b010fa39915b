// Frames as gRPC carries them: byte buffers of reference-counted slices, whose payload is never copied.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/slice.h"
#include "proto/codec/frame_codec.h"

namespace quantd::wire {

// The frame of `fields` (without data), of `more_fields`, which are serialized already, and of the payload as its data.
// The buffer holds references to the payload's
// slices: their bytes must stay until gRPC has let go of the last one.
grpc::ByteBuffer JoinFrame(const google::protobuf::MessageLite& fields, std::span<const grpc::Slice> payload,
                           std::string_view more_fields = {});

// A received frame taken apart; it keeps the memory that its data lies in.
class ReceivedFrame {
 public:
  // Errors as Split; INTERNAL if gRPC cannot give the bytes out.
  static absl::StatusOr<ReceivedFrame> Parse(const grpc::ByteBuffer& buffer, uint32_t apart = 0);

  ReceivedFrame(ReceivedFrame&&) = default;
  ReceivedFrame& operator=(ReceivedFrame&&) = default;
  ReceivedFrame(const ReceivedFrame&) = delete;
  ReceivedFrame& operator=(const ReceivedFrame&) = delete;

  // Serialized, without the data.
  const std::string& fields() const { return split_.fields; }
  // Of the field that was to be kept apart.
  const std::string& apart() const { return split_.apart; }
  // Valid as long as this object, or the one that it was moved to.
  std::span<const ByteSpan> data() const { return split_.data; }
  uint64_t data_bytes() const { return split_.data_bytes; }

 private:
  ReceivedFrame(const grpc::ByteBuffer& buffer, std::vector<grpc::Slice> slices, SplitFrame split)
      : buffer_(buffer), slices_(std::move(slices)), split_(std::move(split)) {}

  // Goes last, and gives the memory back from inside gRPC: where a quota is short, gRPC 1.51 crashes when a slice does.
  grpc::ByteBuffer buffer_;
  std::vector<grpc::Slice> slices_;
  SplitFrame split_;
};

}  // namespace quantd::wire
