#include "server/rpc/proto_convert.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "google/rpc/error_details.pb.h"
#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "proto/codec/grpc_frame.h"

namespace quantd::server {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

// ---- What the code relies on ----

void ExpectSameFields(const Descriptor& a, const Descriptor& b) {
  ASSERT_EQ(a.field_count(), b.field_count());
  for (int i = 0; i < a.field_count(); ++i) {
    const FieldDescriptor& field = *a.field(i);
    const FieldDescriptor* other = b.FindFieldByNumber(field.number());
    ASSERT_NE(other, nullptr) << field.full_name();
    EXPECT_EQ(field.name(), other->name());
    EXPECT_EQ(field.type(), other->type()) << field.full_name();
    EXPECT_EQ(field.label(), other->label()) << field.full_name();
    EXPECT_EQ(field.has_presence(), other->has_presence()) << field.full_name();
    EXPECT_EQ(field.message_type(), other->message_type()) << field.full_name();
    EXPECT_EQ(field.enum_type(), other->enum_type()) << field.full_name();
  }
}

TEST(BulkMessages, BothRequestsHaveTheSameFields) {
  ExpectSameFields(*v1::QuantizeRequest::descriptor(), *v1::DequantizeRequest::descriptor());
}

TEST(BulkMessages, BothResponsesHaveTheSameFields) {
  ExpectSameFields(*v1::QuantizeResponse::descriptor(), *v1::DequantizeResponse::descriptor());
}

// ---- Requests ----

grpc::ByteBuffer ToBuffer(const std::string& bytes) {
  const grpc::Slice slice(bytes);
  return {&slice, 1};
}

template <class M>
absl::StatusOr<RequestFrame> Converted(const M& message) {
  return ToRequestFrame(ToBuffer(message.SerializeAsString()));
}

std::string DataOf(const RequestFrame& frame) {
  std::string data;
  for (const auto part : frame.data) data.append(reinterpret_cast<const char*>(part.data()), part.size());
  return data;
}

template <class M>
M FullRequest() {
  M message;
  message.set_tensor_seq(7);
  message.set_last(true);
  v1::TensorHeader& header = *message.mutable_header();
  header.set_name("layer.0");
  header.set_dtype(v1::DATA_TYPE_BFLOAT16);
  header.add_shape(3);
  header.add_shape(1ull << 33);
  header.mutable_scheme()->set_preset("bnb-nf4");
  header.mutable_scheme()->set_format_revision(4);
  (*header.mutable_scheme()->mutable_overrides())["block_size"] = "128";
  header.mutable_statistics()->set_offset(0.5f);
  header.mutable_statistics()->set_amax(3.0f);
  header.mutable_statistics()->set_min(-1.0f);
  header.mutable_statistics()->set_max(2.0f);
  header.mutable_statistics()->set_global_scale(1.5f);
  header.set_error_metrics(true);
  header.mutable_range()->set_begin(64);
  header.mutable_range()->set_end(128);
  header.set_device_policy(v1::DEVICE_POLICY_GPU);
  header.set_priority(v1::PRIORITY_HIGH);
  header.set_checksum_kind(v1::CHECKSUM_KIND_CRC32C);
  v1::Piece& piece = *message.add_pieces();
  piece.set_segment("values");
  piece.set_offset(1ull << 40);
  piece.set_length(3);
  piece.set_crc32c(0);
  message.add_pieces()->set_segment("empty");
  message.set_data("abc");
  return message;
}

template <class M>
class ToRequestFrameTest : public ::testing::Test {};
using Requests = ::testing::Types<v1::QuantizeRequest, v1::DequantizeRequest>;
TYPED_TEST_SUITE(ToRequestFrameTest, Requests);

TYPED_TEST(ToRequestFrameTest, EveryFieldArrives) {
  const auto frame = Converted(FullRequest<TypeParam>());
  ASSERT_TRUE(frame.ok()) << frame.status();
  EXPECT_EQ(frame->tensor_seq, 7u);
  EXPECT_TRUE(frame->last);
  ASSERT_TRUE(frame->header.has_value() && frame->header->ok());
  const TensorRequest& header = **frame->header;
  EXPECT_EQ(header.name, "layer.0");
  EXPECT_EQ(header.dtype, DataType::kBFloat16);
  EXPECT_THAT(header.shape, ::testing::ElementsAre(3, 1ull << 33));
  EXPECT_EQ(header.scheme.preset, "bnb-nf4");
  EXPECT_EQ(header.scheme.format_revision, 4u);
  EXPECT_THAT(header.scheme.overrides, ::testing::ElementsAre(::testing::Pair("block_size", "128")));
  EXPECT_EQ(header.known.offset, 0.5f);
  EXPECT_EQ(header.known.amax, 3.0f);
  EXPECT_EQ(header.known.min, -1.0f);
  EXPECT_EQ(header.known.max, 2.0f);
  EXPECT_EQ(header.known.global_scale, 1.5f);
  EXPECT_TRUE(header.error_metrics);
  EXPECT_EQ(header.range.value().begin, 64u);
  EXPECT_EQ(header.range.value().end, 128u);
  EXPECT_EQ(header.device_policy, DevicePolicy::kGpu);
  EXPECT_EQ(header.priority, Priority::kHigh);
  EXPECT_EQ(header.checksum_kind, ChecksumKind::kCrc32c);
  ASSERT_EQ(frame->pieces.size(), 2u);
  EXPECT_EQ(frame->pieces[0].segment, "values");
  EXPECT_EQ(frame->pieces[0].offset, 1ull << 40);
  EXPECT_EQ(frame->pieces[0].length, 3u);
  EXPECT_EQ(frame->pieces[0].crc32c, 0u) << "a checksum of zero is one";
  EXPECT_FALSE(frame->pieces[1].crc32c.has_value());
  EXPECT_EQ(DataOf(*frame), "abc");
  EXPECT_EQ(frame->data_bytes, 3u);
}

TYPED_TEST(ToRequestFrameTest, WhatIsAbsentIsAbsent) {
  TypeParam message;
  message.mutable_header()->set_dtype(v1::DATA_TYPE_FLOAT32);
  const auto frame = Converted(message);
  ASSERT_TRUE(frame.ok() && frame->header->ok());
  const TensorRequest& header = **frame->header;
  EXPECT_FALSE(header.known.offset.has_value());
  EXPECT_FALSE(header.range.has_value());
  EXPECT_EQ(header.device_policy, DevicePolicy::kAuto);
  EXPECT_EQ(header.priority, Priority::kNormal);
  EXPECT_EQ(header.checksum_kind, ChecksumKind::kWherePresent);
  EXPECT_FALSE(Converted(TypeParam())->header.has_value());
}

TEST(ToRequestFrame, AnEmptyBufferIsAnEmptyFrame) {
  const auto frame = ToRequestFrame(grpc::ByteBuffer());
  ASSERT_TRUE(frame.ok()) << frame.status();
  EXPECT_EQ(frame->tensor_seq, 0u);
  EXPECT_EQ(frame->data_bytes, 0u);
}

TEST(ToRequestFrame, TheDataStaysWithTheFrame) {
  v1::QuantizeRequest message;
  message.set_data(std::string(300'000, 'x'));
  auto buffer = std::make_unique<grpc::ByteBuffer>(ToBuffer(message.SerializeAsString()));
  auto frame = ToRequestFrame(*buffer);
  buffer.reset();
  const RequestFrame moved = *std::move(frame);
  EXPECT_EQ(DataOf(moved), std::string(300'000, 'x'));
}

TEST(ToRequestFrame, AnUnknownDtypeIsTheHeadersOwnError) {
  for (const int number : {0, 10, 99, -1}) {
    v1::QuantizeRequest message;
    message.mutable_header()->set_dtype(static_cast<v1::DataType>(number));
    const auto frame = Converted(message);
    ASSERT_TRUE(frame.ok()) << "it fails one tensor only";
    EXPECT_EQ(DetailsOf(frame->header->status()).reason, reason::kInvalidDtype);
  }
}

TEST(ToRequestFrame, UnknownPoliciesAreTheDefaults) {
  v1::QuantizeRequest message;
  message.mutable_header()->set_dtype(v1::DATA_TYPE_FLOAT32);
  message.mutable_header()->set_device_policy(static_cast<v1::DevicePolicy>(50));
  message.mutable_header()->set_priority(static_cast<v1::Priority>(50));
  const auto frame = Converted(message);
  EXPECT_EQ((**frame->header).device_policy, DevicePolicy::kAuto);
  EXPECT_EQ((**frame->header).priority, Priority::kNormal);
}

TEST(ToRequestFrame, GarbageIsAMalformedFrame) {
  for (const std::string& garbage : {std::string("\xff\xff\xff"), std::string("\x12\x7f") + "short"}) {
    const auto frame = ToRequestFrame(ToBuffer(garbage));
    EXPECT_EQ(DetailsOf(frame.status()).reason, reason::kMalformedFrame) << frame.status();
  }
}

TEST(ToRequestFrame, NoMoreThanSixtyFourPieces) {
  v1::QuantizeRequest message;
  for (int i = 0; i < 64; ++i) message.add_pieces();
  EXPECT_TRUE(Converted(message).ok());
  message.add_pieces();
  EXPECT_EQ(DetailsOf(Converted(message).status()).reason, reason::kFrameTooLarge);
}

// ---- Responses ----

struct Piece {
  std::shared_ptr<std::vector<std::byte>> bytes;
  OutputPiece output;
};

Piece MakePiece(const std::string& segment, uint64_t offset, size_t bytes, std::byte fill) {
  auto memory = std::make_shared<std::vector<std::byte>>(bytes, fill);
  return {memory, {segment, offset, *memory, memory, std::nullopt}};
}

ResponseFrame FrameOf(std::initializer_list<Piece> pieces) {
  ResponseFrame frame{.tensor_seq = 1};
  for (const Piece& piece : pieces) {
    frame.pieces.push_back(piece.output);
    frame.data_bytes += piece.output.bytes.size();
  }
  return frame;
}

template <class M>
M Parsed(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  EXPECT_TRUE(buffer.Dump(&slices).ok());
  std::string bytes;
  for (const grpc::Slice& slice : slices) bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  M message;
  EXPECT_TRUE(message.ParseFromString(bytes));
  return message;
}

const AcceptConstants kConstants{4 << 20, "instance", 99};

template <class M>
class ToByteBufferTest : public ::testing::Test {};
using Responses = ::testing::Types<v1::QuantizeResponse, v1::DequantizeResponse>;
TYPED_TEST_SUITE(ToByteBufferTest, Responses);

TYPED_TEST(ToByteBufferTest, EveryFieldArrives) {
  ResponseFrame frame =
      FrameOf({MakePiece("codes", 10, 3, std::byte('c')), MakePiece("scales", 1ull << 40, 2, std::byte('s'))});
  frame.tensor_seq = 5;
  frame.consumed_bytes = 1ull << 35;
  frame.pieces[0].crc32c = 0;
  frame.accept = std::make_shared<const SharedAccept>(
      AcceptInfo{{"nf4", {{"block_size", "64"}}, 1},
                 {{{"values", DataType::kFloat16, {2, 3}, 12, 128}, 0, 12}},
                 {{{"codes", DataType::kUint8, {3}, 3, 32}, 1, 2}, {{"scales", DataType::kFloat32, {1}, 4, 4}, 0, 4}},
                 64,
                 640});
  frame.window_bytes = 8 << 20;
  frame.summary = SummaryInfo{{{"codes", 3, 0xabcdu}, {"scales", 2, std::nullopt}},
                              1.5f,
                              -1.5f,
                              0.5f,
                              6,
                              ErrorMetrics{7, 0.25, 0.5, 20.5},
                              std::nullopt,
                              absl::Nanoseconds(1),
                              absl::Nanoseconds(2),
                              absl::Nanoseconds(3),
                              absl::Seconds(4),
                              "cpu"};
  const auto message = Parsed<TypeParam>(ToByteBuffer(frame, kConstants));
  EXPECT_EQ(message.tensor_seq(), 5u);
  EXPECT_EQ(message.consumed_bytes(), 1ull << 35);
  EXPECT_EQ(message.data(), "cccss");
  ASSERT_EQ(message.pieces_size(), 2);
  EXPECT_EQ(message.pieces(0).segment(), "codes");
  EXPECT_EQ(message.pieces(0).offset(), 10u);
  EXPECT_EQ(message.pieces(0).length(), 3u);
  EXPECT_TRUE(message.pieces(0).has_crc32c());
  EXPECT_FALSE(message.pieces(1).has_crc32c());
  EXPECT_EQ(message.pieces(1).offset(), 1ull << 40);
  EXPECT_FALSE(message.has_error());
  const v1::Accept& accept = message.accept();
  EXPECT_EQ(accept.scheme().preset(), "nf4");
  EXPECT_EQ(accept.scheme().overrides().at("block_size"), "64");
  EXPECT_EQ(accept.scheme().format_revision(), 1u);
  ASSERT_EQ(accept.inputs_size(), 1);
  EXPECT_EQ(accept.inputs(0).name(), "values");
  EXPECT_EQ(accept.inputs(0).dtype(), v1::DATA_TYPE_FLOAT16);
  EXPECT_THAT(accept.inputs(0).shape(), ::testing::ElementsAre(2, 3));
  EXPECT_EQ(accept.inputs(0).size_bytes(), 12u);
  EXPECT_EQ(accept.inputs(0).unit_bytes(), 128u);
  ASSERT_EQ(accept.outputs_size(), 2);
  EXPECT_EQ(accept.outputs(0).begin_bytes(), 1u);
  EXPECT_EQ(accept.outputs(0).end_bytes(), 2u);
  EXPECT_EQ(accept.unit_elements(), 64u);
  EXPECT_EQ(accept.batch_elements(), 640u);
  EXPECT_EQ(accept.window_bytes(), 8u << 20);
  EXPECT_EQ(accept.frame_data_bytes_max(), 4u << 20);
  EXPECT_EQ(accept.server_instance(), "instance");
  EXPECT_EQ(accept.epoch(), 99u);
  const v1::Summary& summary = message.summary();
  ASSERT_EQ(summary.outputs_size(), 2);
  EXPECT_EQ(summary.outputs(0).name(), "codes");
  EXPECT_EQ(summary.outputs(0).size_bytes(), 3u);
  EXPECT_EQ(summary.outputs(0).crc32c(), 0xabcdu);
  EXPECT_FALSE(summary.outputs(1).has_crc32c());
  EXPECT_EQ(summary.amax(), 1.5f);
  EXPECT_EQ(summary.lowest(), -1.5f);
  EXPECT_EQ(summary.highest(), 0.5f);
  EXPECT_EQ(summary.errors().count(), 7u);
  EXPECT_EQ(summary.errors().mean_squared_error(), 0.25);
  EXPECT_EQ(summary.errors().max_error(), 0.5);
  EXPECT_EQ(summary.errors().snr_db(), 20.5);
  EXPECT_EQ(summary.nonfinite_count(), 6u);
  EXPECT_EQ(summary.times().receive_ns(), 1u);
  EXPECT_EQ(summary.times().queue_ns(), 2u);
  EXPECT_EQ(summary.times().compute_ns(), 3u);
  EXPECT_EQ(summary.times().total_ns(), 4'000'000'000u);
  EXPECT_EQ(summary.device(), "cpu");
}

TYPED_TEST(ToByteBufferTest, AnAcceptThatTensorsShareHasTheWindowOfEach) {
  ResponseFrame first, second;
  first.accept = second.accept = std::make_shared<const SharedAccept>(AcceptInfo{{"nf4", {}, 1}, {}, {}, 64, 640});
  first.window_bytes = 1 << 20;
  second.window_bytes = 2 << 20;
  for (const ResponseFrame& frame : {first, second, first}) {
    const v1::Accept accept = Parsed<TypeParam>(ToByteBuffer(frame, kConstants)).accept();
    EXPECT_EQ(accept.window_bytes(), frame.window_bytes);
    EXPECT_EQ(accept.batch_elements(), 640u);
    EXPECT_EQ(accept.server_instance(), "instance");
  }
}

TYPED_TEST(ToByteBufferTest, AnErrorIsAnRpcStatusWithItsReason) {
  ResponseFrame frame{.tensor_seq = 3, .error = InvalidArgument(reason::kInvalidShape, "why")};
  const auto message = Parsed<TypeParam>(ToByteBuffer(frame, kConstants));
  EXPECT_EQ(message.error().code(), static_cast<int>(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(message.error().message(), "why");
  google::rpc::ErrorInfo info;
  ASSERT_TRUE(message.error().details(0).UnpackTo(&info));
  EXPECT_EQ(info.reason(), "INVALID_SHAPE");
  EXPECT_FALSE(message.has_summary());
  EXPECT_FALSE(message.has_accept());
}

TEST(ToByteBuffer, UpToSixtyFourKibibytesAreCopiedAndKeepNoSlot) {
  const Piece one = MakePiece("codes", 0, 60 << 10, std::byte(1));
  const Piece two = MakePiece("scales", 0, 4 << 10, std::byte(2));
  const auto owners = one.bytes.use_count();
  grpc::ByteBuffer buffer;
  {
    ResponseFrame frame = FrameOf({one, two});
    buffer = ToByteBuffer(frame, kConstants);
  }
  EXPECT_EQ(one.bytes.use_count(), owners);
  EXPECT_EQ(Parsed<v1::QuantizeResponse>(buffer).data(), std::string(60 << 10, '\x01') + std::string(4 << 10, '\x02'));
}

TEST(ToByteBuffer, MoreIsReferredToAndKeptUntilTheTransportIsDone) {
  const Piece one = MakePiece("codes", 0, 60 << 10, std::byte(1));
  const Piece two = MakePiece("scales", 0, (4 << 10) + 1, std::byte(2));
  const auto owners = one.bytes.use_count();
  {
    const auto frame = std::make_unique<ResponseFrame>(FrameOf({one, two}));
    grpc::ByteBuffer buffer = ToByteBuffer(*frame, kConstants);
    EXPECT_GT(one.bytes.use_count(), owners);
    EXPECT_GT(two.bytes.use_count(), owners);
    std::vector<grpc::Slice> slices;
    ASSERT_TRUE(buffer.Dump(&slices).ok());
    ASSERT_EQ(slices.size(), 3u);
    EXPECT_EQ(static_cast<const void*>(slices[1].begin()), one.bytes->data());
    EXPECT_EQ(static_cast<const void*>(slices[2].begin()), two.bytes->data());
  }
  EXPECT_EQ(one.bytes.use_count(), owners);
  EXPECT_EQ(two.bytes.use_count(), owners);
}

TEST(ToByteBuffer, ASliceOutlivesTheBuffer) {
  std::vector<grpc::Slice> slices;
  std::weak_ptr<std::vector<std::byte>> memory;
  {
    const Piece piece = MakePiece("codes", 0, 100'000, std::byte(9));
    memory = piece.bytes;
    grpc::ByteBuffer buffer = ToByteBuffer(FrameOf({piece}), kConstants);
    ASSERT_TRUE(buffer.Dump(&slices).ok());
  }
  EXPECT_FALSE(memory.expired());
  EXPECT_EQ(slices.back().begin()[99'999], 9);
  slices.clear();
  EXPECT_TRUE(memory.expired());
}

TEST(SchemeOnTheWire, IsTheSchemeThatCameIn) {
  const SchemeRequest scheme{"bnb-fp4", {{"block_size", "32"}, {"nonfinite", "library"}}, 2};
  const v1::Scheme proto = ToProto(scheme);
  v1::QuantizeRequest message;
  message.mutable_header()->set_dtype(v1::DATA_TYPE_FLOAT32);
  *message.mutable_header()->mutable_scheme() = proto;
  const auto frame = Converted(message);
  const SchemeRequest& back = (**frame->header).scheme;
  EXPECT_EQ(back.preset, scheme.preset);
  EXPECT_EQ(back.overrides, scheme.overrides);
  EXPECT_EQ(back.format_revision, scheme.format_revision);
}

}  // namespace
}  // namespace quantd::server
