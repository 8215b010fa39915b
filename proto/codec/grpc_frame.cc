#include "proto/codec/grpc_frame.h"

#include <utility>

#include "kernels/base/status_macros.h"

namespace quantd::wire {

grpc::ByteBuffer JoinFrame(const google::protobuf::MessageLite& fields, std::span<const grpc::Slice> payload,
                           std::string_view more_fields) {
  uint64_t data_bytes = 0;
  for (const grpc::Slice& slice : payload) data_bytes += slice.size();
  std::vector<grpc::Slice> slices;
  slices.reserve(1 + payload.size());
  slices.emplace_back(EncodeHead(fields, data_bytes, more_fields));
  slices.insert(slices.end(), payload.begin(), payload.end());
  return grpc::ByteBuffer(slices.data(), slices.size());
}

absl::StatusOr<ReceivedFrame> ReceivedFrame::Parse(const grpc::ByteBuffer& buffer, uint32_t apart) {
  std::vector<grpc::Slice> slices;
  if (buffer.Valid()) {
    if (!buffer.Dump(&slices).ok()) return absl::InternalError("gRPC could not give out a received message.");
  }
  // Small slices hold their bytes in place: the vector's elements must not move from here on, only the vector.
  std::vector<ByteSpan> spans;
  spans.reserve(slices.size());
  for (const grpc::Slice& slice : slices) {
    spans.emplace_back(reinterpret_cast<const std::byte*>(slice.begin()), slice.size());
  }
  QUANTD_ASSIGN_OR_RETURN(SplitFrame split, Split(spans, apart));
  return ReceivedFrame(buffer, std::move(slices), std::move(split));
}

}  // namespace quantd::wire
