#include "proto/codec/frame_codec.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "google/protobuf/stubs/logging.h"
#include "google/protobuf/util/message_differencer.h"
#include "gtest/gtest.h"
#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "quantd/v1/quantization_service.pb.h"

namespace quantd::wire {
namespace {

using ::testing::HasSubstr;

using Random = std::mt19937;

uint32_t Below(uint32_t limit, Random& random) { return random() % limit; }

std::string RandomText(uint32_t length_max, Random& random) {
  std::string text(Below(length_max + 1, random), '\0');
  for (char& c : text) c = static_cast<char>('a' + Below(26, random));
  return text;
}

std::string RandomData(uint32_t length_max, Random& random) {
  std::string data(Below(length_max + 1, random), '\0');
  for (char& c : data) c = static_cast<char>(random());
  return data;
}

std::string Varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes.push_back(static_cast<char>(value | 0x80));
  return bytes + static_cast<char>(value);
}
std::string Tag(uint32_t number, uint32_t wire_type) { return Varint(number << 3 | wire_type); }
std::string BytesField(uint32_t number, const std::string& value) {
  return Tag(number, 2) + Varint(value.size()) + value;
}

// A field of any wire type that no message of the contract has.
std::string RandomUnknownField(int depth_max, Random& random) {
  const uint32_t number = 2000 + Below(100000, random);
  switch (Below(depth_max > 0 ? 5 : 4, random)) {
    case 0:
      return Tag(number, 0) + Varint(uint64_t{random()} << Below(33, random));
    case 1:
      return Tag(number, 1) + std::string(8, static_cast<char>(random()));
    case 2:
      return BytesField(number, RandomData(300, random));
    case 3:
      return Tag(number, 5) + std::string(4, static_cast<char>(random()));
    default: {
      std::string group = Tag(number, 3);
      for (uint32_t i = Below(4, random); i > 0; --i) group += RandomUnknownField(depth_max - 1, random);
      // Inside a group field 1000 is somebody else's.
      if (Below(2, random) == 0) group += BytesField(1000, RandomData(20, random));
      return group + Tag(number, 4);
    }
  }
}

void FillPiece(v1::Piece& piece, Random& random) {
  piece.set_segment(RandomText(12, random));
  piece.set_offset(random());
  piece.set_length(random());
  if (Below(2, random)) piece.set_crc32c(random());
}

template <typename Request>
void FillRequest(Request& request, Random& random) {
  v1::TensorHeader& header = *request.mutable_header();
  header.set_name(RandomText(40, random));
  header.set_dtype(v1::DATA_TYPE_BFLOAT16);
  for (uint32_t i = Below(5, random); i > 0; --i) header.add_shape(random());
  header.mutable_scheme()->set_preset(RandomText(10, random));
  (*header.mutable_scheme()->mutable_overrides())["block_size"] = RandomText(5, random);
  if (Below(2, random)) header.mutable_statistics()->set_offset(1.5f);
  request.set_last(Below(2, random));
}

template <typename Response>
void FillResponse(Response& response, Random& random) {
  response.set_consumed_bytes(uint64_t{random()} << 20);
  if (Below(2, random)) response.mutable_accept()->add_inputs()->set_name(RandomText(8, random));
  if (Below(2, random)) response.mutable_error()->set_message(RandomText(80, random));
  if (Below(2, random)) response.mutable_summary()->add_outputs()->set_crc32c(random());
}

void Fill(v1::QuantizeRequest& message, Random& random) { FillRequest(message, random); }
void Fill(v1::DequantizeRequest& message, Random& random) { FillRequest(message, random); }
void Fill(v1::QuantizeResponse& message, Random& random) { FillResponse(message, random); }
void Fill(v1::DequantizeResponse& message, Random& random) { FillResponse(message, random); }

template <typename Message>
Message RandomFrame(Random& random) {
  Message message;
  message.set_tensor_seq(random());
  if (Below(4, random)) Fill(message, random);
  for (uint32_t i = Below(5, random); i > 0; --i) FillPiece(*message.add_pieces(), random);
  if (Below(4, random)) message.set_data(RandomData(3000, random));
  return message;
}

// Cuts `bytes` into slices of at most slice_bytes_max, empty ones among them.
std::vector<std::string> CutAtRandom(const std::string& bytes, uint32_t slice_bytes_max, Random& random) {
  std::vector<std::string> slices;
  for (size_t begin = 0; begin < bytes.size();) {
    const uint32_t length = slice_bytes_max == 1 ? 1 : Below(slice_bytes_max + 1, random);
    slices.push_back(bytes.substr(begin, length));
    begin += slices.back().size();
  }
  return slices;
}

std::vector<ByteSpan> SpansOf(const std::vector<std::string>& slices) {
  std::vector<ByteSpan> spans;
  for (const std::string& slice : slices) spans.push_back(std::as_bytes(std::span(slice)));
  return spans;
}

std::string Gather(const SplitFrame& frame) {
  std::string data;
  for (ByteSpan part : frame.data) data.append(reinterpret_cast<const char*>(part.data()), part.size());
  return data;
}

absl::StatusOr<SplitFrame> SplitWhole(const std::string& bytes) {
  const ByteSpan whole = std::as_bytes(std::span(bytes));
  return Split({&whole, 1});
}

// What the codec and the generated parser together make of a frame; false if either refuses.
template <typename Message>
bool ParseThroughCodec(std::span<const ByteSpan> slices, Message& message) {
  const absl::StatusOr<SplitFrame> frame = Split(slices);
  if (!frame.ok() || !message.ParseFromString(frame->fields)) return false;
  EXPECT_EQ(Gather(*frame).size(), frame->data_bytes);
  message.set_data(Gather(*frame));
  return true;
}

void ExpectReason(const absl::Status& status, std::string_view reason, const std::string& message_part) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_EQ(DetailsOf(status).reason, reason) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(message_part));
}

template <typename Message>
class FrameCodec : public ::testing::Test {};
using BulkMessages =
    ::testing::Types<v1::QuantizeRequest, v1::QuantizeResponse, v1::DequantizeRequest, v1::DequantizeResponse>;
TYPED_TEST_SUITE(FrameCodec, BulkMessages);

TYPED_TEST(FrameCodec, EncodesTheBytesOfTheGeneratedCode) {
  Random random(1);
  for (int round = 0; round < 500; ++round) {
    const TypeParam message = RandomFrame<TypeParam>(random);
    TypeParam fields = message;
    fields.clear_data();
    EXPECT_EQ(EncodeHead(fields, message.data().size()) + message.data(), message.SerializeAsString());
  }
}

TYPED_TEST(FrameCodec, TakesFieldsThatAreSerializedAlready) {
  Random random(4);
  for (int round = 0; round < 100; ++round) {
    const TypeParam message = RandomFrame<TypeParam>(random);
    TypeParam some, others = message;
    some.set_tensor_seq(message.tensor_seq());
    others.clear_tensor_seq();
    others.clear_data();
    TypeParam parsed;
    ASSERT_TRUE(
        parsed.ParseFromString(EncodeHead(some, message.data().size(), others.SerializeAsString()) + message.data()));
    EXPECT_EQ(parsed.SerializeAsString(), message.SerializeAsString());
  }
}

TEST(EncodeMessageField, PutsThePartsIntoOneMessage) {
  v1::Accept some, others;
  some.set_window_bytes(1 << 20);
  others.set_server_instance(std::string(300, 'i'));
  v1::QuantizeResponse response;
  ASSERT_TRUE(response.ParseFromString(EncodeMessageField(v1::QuantizeResponse::kAcceptFieldNumber,
                                                          {some.SerializeAsString(), others.SerializeAsString()})));
  EXPECT_EQ(response.accept().window_bytes(), 1u << 20);
  EXPECT_EQ(response.accept().server_instance(), std::string(300, 'i'));
}

TYPED_TEST(FrameCodec, SplitsWhatTheGeneratedCodeEncodesAtAnySliceBoundaries) {
  Random random(2);
  for (int round = 0; round < 500; ++round) {
    const TypeParam message = RandomFrame<TypeParam>(random);
    for (uint32_t slice_bytes_max : {1u, 7u, 500u, 1u << 20}) {
      const auto slices = CutAtRandom(message.SerializeAsString(), slice_bytes_max, random);
      TypeParam parsed;
      ASSERT_TRUE(ParseThroughCodec(SpansOf(slices), parsed));
      ASSERT_EQ(parsed.SerializeAsString(), message.SerializeAsString());
    }
  }
}

TYPED_TEST(FrameCodec, TakesFieldsInAnyOrderAndKeepsUnknownOnes) {
  Random random(3);
  for (int round = 0; round < 500; ++round) {
    const TypeParam message = RandomFrame<TypeParam>(random);
    std::vector<std::string> parts;
    TypeParam rest = message;
    for (const v1::Piece& piece : message.pieces()) parts.push_back(BytesField(3, piece.SerializeAsString()));
    rest.clear_pieces();
    if (!message.data().empty()) parts.push_back(BytesField(1000, message.data()));
    rest.clear_data();
    parts.push_back(rest.SerializeAsString());
    for (int i = 0; i < 5; ++i) parts.push_back(RandomUnknownField(3, random));
    std::shuffle(parts.begin(), parts.end(), random);
    std::string bytes;
    for (const std::string& part : parts) bytes += part;

    TypeParam expected, parsed;
    ASSERT_TRUE(expected.ParseFromString(bytes));
    const auto slices = CutAtRandom(bytes, 40, random);
    ASSERT_TRUE(ParseThroughCodec(SpansOf(slices), parsed));
    // Serialized, so that unknown fields are compared too.
    ASSERT_EQ(parsed.SerializeAsString(), expected.SerializeAsString());
  }
}

TYPED_TEST(FrameCodec, AgreesWithTheGeneratedParserOnEveryTruncation) {
  Random random(4);
  TypeParam message = RandomFrame<TypeParam>(random);
  message.set_data(RandomData(200, random));
  const std::string bytes = BytesField(1000, "first") + RandomUnknownField(3, random) + message.SerializeAsString() +
                            Tag(5000, 3) + Tag(5000, 4);
  for (size_t length = 0; length <= bytes.size(); ++length) {
    TypeParam expected, parsed;
    const bool accepted = expected.ParseFromString(bytes.substr(0, length));
    const std::string truncated = bytes.substr(0, length);
    const ByteSpan whole = std::as_bytes(std::span(truncated));
    ASSERT_EQ(ParseThroughCodec<TypeParam>({&whole, 1}, parsed), accepted) << length;
    if (accepted) {
      ASSERT_EQ(parsed.SerializeAsString(), expected.SerializeAsString()) << length;
    }
  }
}

// True if field 1000 comes with another wire type outside of all groups, which only the codec refuses.
bool RefusedOnlyByTheCodec(const std::string& bytes) {
  const absl::StatusOr<SplitFrame> frame = SplitWhole(bytes);
  return !frame.ok() && frame.status().message().find("field 1000 is not of type bytes") != absl::string_view::npos;
}

TYPED_TEST(FrameCodec, AgreesWithTheGeneratedParserOnRandomBytes) {
  // The parser logs every string that is not UTF-8.
  const google::protobuf::LogSilencer silencer;
  Random random(5);
  int accepted_count = 0;
  for (int round = 0; round < 100'000; ++round) {
    std::string bytes;
    if (round % 2 == 0) {
      bytes = RandomData(40, random);
    } else {
      // Nearly a frame: mutations reach deeper than noise.
      TypeParam message = RandomFrame<TypeParam>(random);
      if (message.data().size() > 100) message.set_data("data");
      bytes = RandomUnknownField(2, random) + message.SerializeAsString() + RandomUnknownField(2, random);
      for (uint32_t i = Below(4, random); i > 0; --i) {
        bytes[Below(bytes.size(), random)] = static_cast<char>(random());
      }
    }
    if (RefusedOnlyByTheCodec(bytes)) continue;
    const auto slices = CutAtRandom(bytes, 9, random);
    TypeParam expected, parsed;
    const bool accepted = expected.ParseFromString(bytes);
    ASSERT_EQ(ParseThroughCodec(SpansOf(slices), parsed), accepted) << ::testing::PrintToString(bytes);
    if (accepted) {
      ASSERT_EQ(parsed.SerializeAsString(), expected.SerializeAsString());
    }
    accepted_count += accepted;
  }
  EXPECT_GT(accepted_count, 10'000);
}

TEST(SplitFrame, IsEmptyForNoBytes) {
  const absl::StatusOr<SplitFrame> frame = Split({});
  ASSERT_TRUE(frame.ok()) << frame.status();
  EXPECT_TRUE(frame->fields.empty());
  EXPECT_TRUE(frame->data.empty());
  EXPECT_EQ(frame->data_bytes, 0u);
}

TEST(SplitFrame, PointsIntoTheSource) {
  const std::string bytes = BytesField(1000, "payload");
  const absl::StatusOr<SplitFrame> frame = SplitWhole(bytes);
  ASSERT_TRUE(frame.ok()) << frame.status();
  ASSERT_EQ(frame->data.size(), 1u);
  EXPECT_EQ(static_cast<const void*>(frame->data[0].data()), bytes.data() + bytes.size() - 7);
}

TEST(SplitFrame, KeepsAMessageApartAndMergesItAsProtobufDoes) {
  v1::Accept first, second;
  first.set_unit_elements(64);
  (*first.mutable_scheme()->mutable_overrides())["a"] = "1";
  second.set_window_bytes(7);
  (*second.mutable_scheme()->mutable_overrides())["b"] = "2";
  const std::string bytes = BytesField(2, first.SerializeAsString()) + Tag(1, 0) + '\x05' +
                            BytesField(2, second.SerializeAsString()) + BytesField(1000, "data");
  v1::QuantizeResponse expected;
  ASSERT_TRUE(expected.ParseFromString(bytes));
  const ByteSpan whole = std::as_bytes(std::span(bytes));
  const absl::StatusOr<SplitFrame> frame = Split({&whole, 1}, 2);
  ASSERT_TRUE(frame.ok());
  v1::Accept accept;
  v1::QuantizeResponse rest;
  ASSERT_TRUE(accept.ParseFromString(frame->apart));
  ASSERT_TRUE(rest.ParseFromString(frame->fields));
  EXPECT_FALSE(rest.has_accept());
  EXPECT_EQ(rest.tensor_seq(), expected.tensor_seq());
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(accept, expected.accept()));
  EXPECT_EQ(Gather(*frame), "data");
}

TEST(SplitFrame, CountsWhatIsKeptApartAmongTheFields) {
  const std::string bytes = BytesField(2, std::string(kFrameFieldsBytesMax / 2, 'x')) +
                            BytesField(7, std::string(kFrameFieldsBytesMax / 2, 'x'));
  const ByteSpan whole = std::as_bytes(std::span(bytes));
  ExpectReason(Split({&whole, 1}, 2).status(), reason::kFrameTooLarge, "bytes outside of data");
}

TEST(SplitFrame, TakesTheLastOfTwoDataFields) {
  const std::string bytes = BytesField(1000, "first") + BytesField(1000, "") + BytesField(1000, "second");
  const absl::StatusOr<SplitFrame> frame = SplitWhole(bytes);
  ASSERT_TRUE(frame.ok()) << frame.status();
  EXPECT_EQ(Gather(*frame), "second");
  const std::string emptied = BytesField(1000, "first") + BytesField(1000, "");
  EXPECT_EQ(SplitWhole(emptied)->data_bytes, 0u);
}

TEST(SplitFrame, RefusesWhatIsNotAMessage) {
  const std::string overlong_varint = std::string(10, '\x80') + '\x01';
  const std::string overlong_length = std::string(5, '\x80') + '\x01';
  const struct {
    std::string bytes, message_part;
  } cases[] = {
      {Tag(0, 0) + Varint(1), "field number 0"},
      {Tag(0, 2) + Varint(0), "field number 0"},
      {Tag(1, 6), "unknown wire type"},
      {Tag(1, 7), "unknown wire type"},
      {"\x80", "a tag is cut off or too long"},
      {std::string(5, '\x80') + '\x01', "a tag is cut off or too long"},
      {Tag(1, 0), "a varint is cut off or too long"},
      {Tag(1, 0) + "\x80", "a varint is cut off or too long"},
      {Tag(1, 0) + overlong_varint, "a varint is cut off or too long"},
      {Tag(1, 1) + "1234567", "a field is cut off"},
      {Tag(1, 5) + "123", "a field is cut off"},
      {Tag(2, 2), "a length is cut off or too long"},
      {Tag(2, 2) + overlong_length, "a length is cut off or too long"},
      {Tag(2, 2) + Varint(0x80000000), "a length is cut off or too long"},
      {Tag(2, 2) + Varint(5) + "1234", "a field is cut off"},
      {Tag(1000, 2), "the length of field 1000 is cut off or too long"},
      {Tag(1000, 2) + Varint(5) + "1234", "field 1000 is cut off"},
      {Tag(1000, 0) + Varint(5), "field 1000 is not of type bytes"},
      {Tag(1000, 3) + Tag(1000, 4), "field 1000 is not of type bytes"},
      {Tag(7, 3), "a group does not end"},
      {Tag(7, 4), "a group ends that did not begin"},
      {Tag(7, 3) + Tag(8, 4), "a group ends that did not begin"},
  };
  for (const auto& [bytes, message_part] : cases) {
    ExpectReason(SplitWhole(bytes).status(), reason::kMalformedFrame, message_part);
  }
}

TEST(SplitFrame, TakesGroupsAsDeepAsProtobufDoes) {
  std::string deepest;
  for (int i = 0; i < 100; ++i) deepest = Tag(7, 3) + deepest + Tag(7, 4);
  EXPECT_TRUE(SplitWhole(deepest).ok());
  EXPECT_TRUE(v1::QuantizeRequest().ParseFromString(deepest));
  const std::string deeper = Tag(7, 3) + deepest + Tag(7, 4);
  ExpectReason(SplitWhole(deeper).status(), reason::kMalformedFrame, "nested too deep");
  EXPECT_FALSE(v1::QuantizeRequest().ParseFromString(deeper));
}

TEST(SplitFrame, TakesDataUpToItsLimit) {
  EXPECT_TRUE(SplitWhole(BytesField(1000, std::string(kFrameDataBytesMax, 'x'))).ok());
  ExpectReason(SplitWhole(BytesField(1000, std::string(kFrameDataBytesMax + 1, 'x'))).status(), reason::kFrameTooLarge,
               "4128768 data bytes");
}

TEST(SplitFrame, TakesFieldsUpToTheirLimit) {
  // Tag and length take five bytes.
  EXPECT_TRUE(SplitWhole(BytesField(2000, std::string(kFrameFieldsBytesMax - 5, 'x'))).ok());
  ExpectReason(SplitWhole(BytesField(2000, std::string(kFrameFieldsBytesMax - 4, 'x'))).status(),
               reason::kFrameTooLarge, "65536 bytes outside of data");
  std::string many_varints;
  while (many_varints.size() <= kFrameFieldsBytesMax) many_varints += Tag(1, 0) + Varint(1);
  ExpectReason(SplitWhole(many_varints).status(), reason::kFrameTooLarge, "65536 bytes outside of data");
}

TEST(SplitFrame, TakesPiecesUpToTheirLimit) {
  std::string pieces;
  for (uint32_t i = 0; i < kFramePiecesMax; ++i) pieces += BytesField(3, "");
  EXPECT_TRUE(SplitWhole(pieces).ok());
  ExpectReason(SplitWhole(pieces + BytesField(3, "")).status(), reason::kFrameTooLarge, "64 pieces");
}

}  // namespace
}  // namespace quantd::wire
