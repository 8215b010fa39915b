#include "proto/codec/grpc_frame.h"

#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "quantd/v1/quantization_service.pb.h"

namespace quantd::wire {
namespace {

std::string Flatten(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  EXPECT_TRUE(buffer.Dump(&slices).ok());
  std::string bytes;
  for (const grpc::Slice& slice : slices) bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return bytes;
}

std::string Gather(const ReceivedFrame& frame) {
  std::string data;
  for (ByteSpan part : frame.data()) data.append(reinterpret_cast<const char*>(part.data()), part.size());
  return data;
}

v1::QuantizeRequest SomeFields() {
  v1::QuantizeRequest fields;
  fields.set_tensor_seq(3);
  fields.add_pieces()->set_segment("values");
  return fields;
}

TEST(JoinFrame, MakesTheBytesOfTheGeneratedCode) {
  const grpc::Slice payload[] = {grpc::Slice("12345"), grpc::Slice(std::string(1000, 'x'))};
  v1::QuantizeRequest whole = SomeFields();
  whole.set_data("12345" + std::string(1000, 'x'));
  EXPECT_EQ(Flatten(JoinFrame(SomeFields(), payload)), whole.SerializeAsString());
}

TEST(JoinFrame, LeavesEmptyDataOut) {
  EXPECT_EQ(Flatten(JoinFrame(SomeFields(), {})), SomeFields().SerializeAsString());
}

TEST(JoinFrame, RefersToThePayloadInsteadOfCopyingIt) {
  const std::string memory(100'000, 'p');
  const grpc::Slice payload(memory.data(), memory.size(), grpc::Slice::STATIC_SLICE);
  const auto frame = ReceivedFrame::Parse(JoinFrame(SomeFields(), {&payload, 1}));
  ASSERT_TRUE(frame.ok()) << frame.status();
  ASSERT_EQ(frame->data().size(), 1u);
  EXPECT_EQ(static_cast<const void*>(frame->data()[0].data()), memory.data());
}

TEST(ReceivedFrame, KeepsItsBytesWhenTheBufferIsGoneAndWhenItMoves) {
  absl::StatusOr<ReceivedFrame> parsed = [] {
    // Short enough to lie inside the slice object itself, and long enough not to.
    const grpc::Slice payload[] = {grpc::Slice("tiny"), grpc::Slice(std::string(5000, 'x'))};
    return ReceivedFrame::Parse(JoinFrame(SomeFields(), payload));
  }();
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  ReceivedFrame moved = *std::move(parsed);
  ReceivedFrame assigned = std::move(moved);
  EXPECT_EQ(Gather(assigned), "tiny" + std::string(5000, 'x'));
  EXPECT_EQ(assigned.data_bytes(), 5004u);
  EXPECT_EQ(assigned.fields(), SomeFields().SerializeAsString());
}

TEST(ReceivedFrame, RefusesAnotherKindOfBytes) {
  const grpc::Slice noise("\xFF\xFF\xFF");
  const auto frame = ReceivedFrame::Parse(grpc::ByteBuffer(&noise, 1));
  EXPECT_EQ(DetailsOf(frame.status()).reason, reason::kMalformedFrame);
}

TEST(ReceivedFrame, OfAnEmptyBufferIsAnEmptyFrame) {
  const auto frame = ReceivedFrame::Parse(grpc::ByteBuffer());
  ASSERT_TRUE(frame.ok()) << frame.status();
  EXPECT_EQ(frame->data_bytes(), 0u);
}

}  // namespace
}  // namespace quantd::wire
