#include "server/conversion/safetensors_header.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quantd::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

void ExpectRefused(const std::string& json, uint64_t data_bytes, const std::string& message) {
  const auto header = ParseSafetensorsHeader(json, data_bytes);
  ASSERT_FALSE(header.ok()) << json;
  EXPECT_EQ(header.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(header.status().message()), HasSubstr(message));
}

constexpr char kTwoTensors[] =
    R"({"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]},"a":{"dtype":"BF16","shape":[2,1],"data_offsets":[0,4]}})";

TEST(ParseSafetensorsHeader, ListsTensorsInTheOrderOfTheirBytes) {
  const auto header = ParseSafetensorsHeader(kTwoTensors, 12);
  ASSERT_TRUE(header.ok()) << header.status();
  ASSERT_EQ(header->tensors.size(), 2u);
  EXPECT_EQ(header->tensors[0].name, "a");
  EXPECT_EQ(header->tensors[0].dtype.name, "BF16");
  EXPECT_THAT(header->tensors[0].shape, ElementsAre(2, 1));
  EXPECT_EQ(header->tensors[1].name, "b");
  EXPECT_EQ(header->tensors[1].begin_bytes, 4u);
  EXPECT_EQ(header->tensors[1].size_bytes(), 8u);
}

TEST(ParseSafetensorsHeader, KeepsMetadata) {
  const auto header = ParseSafetensorsHeader(R"({"__metadata__":{"format":"pt","q\"":"ü"}})", 0);
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_THAT(header->metadata, ElementsAre(std::pair("format", "pt"), std::pair("q\"", "ü")));
}

TEST(ParseSafetensorsHeader, TakesBlanksAfterTheObject) { EXPECT_TRUE(ParseSafetensorsHeader("{}      ", 0).ok()); }

TEST(ParseSafetensorsHeader, TakesScalarsAndTensorsWithoutElements) {
  const auto header = ParseSafetensorsHeader(
      R"({"s":{"dtype":"I64","shape":[],"data_offsets":[0,8]},"e":{"dtype":"F32","shape":[3,0],"data_offsets":[0,0]}})",
      8);
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_EQ(header->tensors[0].name, "e");
  EXPECT_EQ(header->tensors[0].element_count(), 0u);
  EXPECT_EQ(header->tensors[1].element_count(), 1u);
}

TEST(ParseSafetensorsHeader, KnowsEveryDtype) {
  for (const SafetensorsDtype& dtype : kSafetensorsDtypes) {
    const std::string json = R"({"t":{"dtype":")" + std::string(dtype.name) + R"(","shape":[8],"data_offsets":[0,)" +
                             std::to_string(dtype.bits) + "]}}";
    const auto header = ParseSafetensorsHeader(json, dtype.bits);
    ASSERT_TRUE(header.ok()) << header.status();
    EXPECT_EQ(header->tensors[0].dtype, dtype);
  }
}

TEST(ParseSafetensorsHeader, RefusesAnUnknownDtypeByName) {
  ExpectRefused(R"({"t":{"dtype":"F128","shape":[1],"data_offsets":[0,16]}})", 16, "unknown dtype 'F128'");
}

TEST(ParseSafetensorsHeader, RefusesNibblesThatDoNotFillBytes) {
  ExpectRefused(R"({"t":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}})", 2, "whole number of bytes");
}

TEST(ParseSafetensorsHeader, RefusesEveryTruncation) {
  const std::string json = kTwoTensors;
  for (size_t length = 0; length < json.size(); ++length) {
    EXPECT_FALSE(ParseSafetensorsHeader(json.substr(0, length), 12).ok()) << length;
  }
}

TEST(ParseSafetensorsHeader, RefusesAHole) {
  ExpectRefused(R"({"t":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})", 3, "begin at 1");
}

TEST(ParseSafetensorsHeader, RefusesOverlap) {
  ExpectRefused(
      R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})", 6,
      "begin at 2 where the tensors before it end at 4");
}

TEST(ParseSafetensorsHeader, RefusesBytesThatNobodyOwns) {
  ExpectRefused(kTwoTensors, 13, "end at byte 12 of 13");
  ExpectRefused("{}", 1, "end at byte 0 of 1");
}

TEST(ParseSafetensorsHeader, RefusesOffsetsBeyondTheData) { ExpectRefused(kTwoTensors, 11, "is the file complete?"); }

TEST(ParseSafetensorsHeader, RefusesOffsetsThatRunBackwards) {
  ExpectRefused(R"({"t":{"dtype":"U8","shape":[0],"data_offsets":[0,18446744073709551615]}})", 8, "do not lie in");
  ExpectRefused(
      R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[4,0]}})", 4,
      "do not lie in");
}

TEST(ParseSafetensorsHeader, RefusesShapesThatOverflow) {
  ExpectRefused(R"({"t":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0, "whole number");
  ExpectRefused(R"({"t":{"dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,0]}})", 0, "whole number");
}

TEST(ParseSafetensorsHeader, RefusesSizesThatDisagree) {
  ExpectRefused(R"({"t":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8, "need 12 bytes, data_offsets say 8");
}

TEST(ParseSafetensorsHeader, RefusesAnythingTwice) {
  const std::string tensor = R"("t":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  ExpectRefused("{" + tensor + "," + tensor + "}", 0, "'t' is there twice");
  ExpectRefused(R"({"t":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}})", 0, "'dtype' is there twice");
  ExpectRefused(R"({"__metadata__":{"a":"","a":""}})", 0, "'a' is there twice");
  ExpectRefused(R"({"__metadata__":{},"__metadata__":{}})", 0, "is there twice");
}

TEST(ParseSafetensorsHeader, RefusesMissingAndUnknownKeys) {
  ExpectRefused(R"({"t":{"dtype":"U8","shape":[0]}})", 0, "needs dtype, shape and data_offsets");
  ExpectRefused(R"({"t":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":1}})", 0, "'x' is not one of");
}

TEST(ParseSafetensorsHeader, RefusesValuesOfAnotherKind) {
  for (const char* json : {
           R"([])",
           R"({"t":[]})",
           R"({"t":1})",
           R"({"t":null})",
           R"({"__metadata__":null})",
           R"({"__metadata__":[]})",
           R"({"__metadata__":{"a":1}})",
           R"({"__metadata__":{"a":{}}})",
           R"({"t":{"dtype":1}})",
           R"({"t":{"shape":"x"}})",
           R"({"t":{"shape":1}})",
           R"({"t":{"shape":{}}})",
           R"({"t":{"shape":[-1]}})",
           R"({"t":{"shape":[1.0]}})",
           R"({"t":{"shape":[1e3]}})",
           R"({"t":{"shape":[18446744073709551616]}})",
           R"({"t":{"shape":["1"]}})",
           R"({"t":{"shape":[[1]]}})",
           R"({"t":{"shape":[true]}})",
           R"({"t":{"dtype":"U8","shape":[0],"data_offsets":[0]}})",
           R"({"t":{"dtype":"U8","shape":[0],"data_offsets":[0,0,0]}})",
           R"({"t":{"dtype":["U8"]}})",
           R"({"t":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}{})",
           R"({} x)",
           R"(null)",
           R"("x")",
       }) {
    EXPECT_FALSE(ParseSafetensorsHeader(json, 0).ok()) << json;
  }
}

TEST(ParseSafetensorsHeader, RefusesTextThatIsNotUtf8) {
  ExpectRefused("{\"\xff\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0, "not JSON");
}

TEST(ParseSafetensorsHeader, RefusesNulBytesAndByteOrderMarks) {
  ExpectRefused(std::string("{}\0x", 4), 0, "not a JSON object");
  ExpectRefused("\xEF\xBB\xBF{}", 0, "not a JSON object");
}

TEST(ParseSafetensorsHeader, SurvivesDeepNesting) {
  ExpectRefused("{\"t\":{\"shape\":" + std::string(1'000'000, '['), 0, "out of place");
}

TEST(ParseSafetensorsHeader, RefusesTooManyExtents) {
  std::string shape = "1";
  for (size_t i = 0; i < kSafetensorsRankMax; ++i) shape += ",1";
  ExpectRefused(R"({"t":{"dtype":"U8","shape":[)" + shape + R"(],"data_offsets":[0,1]}})", 1, "more than 64 extents");
}

TEST(LayOutSafetensors, MakesTheBytesOfTheSafetensorsLibrary) {
  const auto layout = LayOutSafetensors({{"z", *SafetensorsDtypeNamed("U8"), {3}},
                                         {"b", *SafetensorsDtypeNamed("F16"), {1}},
                                         {"a", *SafetensorsDtypeNamed("BF16"), {1}},
                                         {"y", *SafetensorsDtypeNamed("F32"), {}},
                                         {"x", *SafetensorsDtypeNamed("F32"), {1, 2}}},
                                        {{"format", "pt"}});
  ASSERT_TRUE(layout.ok()) << layout.status();
  // As safetensors 0.8.0 writes it.
  const std::string json = R"({"__metadata__":{"format":"pt"},)"
                           R"("x":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},)"
                           R"("y":{"dtype":"F32","shape":[],"data_offsets":[8,12]},)"
                           R"("a":{"dtype":"BF16","shape":[1],"data_offsets":[12,14]},)"
                           R"("b":{"dtype":"F16","shape":[1],"data_offsets":[14,16]},)"
                           R"("z":{"dtype":"U8","shape":[3],"data_offsets":[16,19]}})";
  const std::string padded = json + std::string((8 - json.size() % 8) % 8, ' ');
  EXPECT_EQ(layout->prefix.substr(0, 8),
            std::string({static_cast<char>(padded.size() & 0xFF), static_cast<char>(padded.size() >> 8)}) +
                std::string(6, '\0'));
  EXPECT_EQ(layout->prefix.substr(8), padded);
  EXPECT_EQ(layout->data_bytes, 19u);
}

TEST(LayOutSafetensors, IsReadBackAsItWasDeclared) {
  const auto layout = LayOutSafetensors(
      {{"q\"\n", *SafetensorsDtypeNamed("F32"), {0}}, {"ü", *SafetensorsDtypeNamed("F4"), {2}}}, {{"k", "v\\"}});
  ASSERT_TRUE(layout.ok()) << layout.status();
  const auto header = ParseSafetensorsHeader(layout->prefix.substr(8), layout->data_bytes);
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_EQ(header->tensors[0].name, "q\"\n");
  EXPECT_EQ(header->tensors[1].name, "ü");
  EXPECT_EQ(header->metadata.at("k"), "v\\");
}

TEST(LayOutSafetensors, RefusesNamesTwiceAndTheReservedOne) {
  const SafetensorsDtype u8 = *SafetensorsDtypeNamed("U8");
  EXPECT_FALSE(LayOutSafetensors({{"a", u8, {1}}, {"a", u8, {1}}}, {}).ok());
  EXPECT_FALSE(LayOutSafetensors({{"__metadata__", u8, {1}}}, {}).ok());
}

TEST(LayOutSafetensors, RefusesWhatCannotBeWritten) {
  const SafetensorsDtype u8 = *SafetensorsDtypeNamed("U8");
  EXPECT_FALSE(LayOutSafetensors({{"\xff", u8, {1}}}, {}).ok());
  EXPECT_FALSE(LayOutSafetensors({}, {{"k", "\xff"}}).ok());
  EXPECT_FALSE(LayOutSafetensors({{"a", u8, {UINT64_MAX, UINT64_MAX}}}, {}).ok());
  EXPECT_FALSE(
      LayOutSafetensors({{"a", u8, {}}, {"b", u8, {}}}, {{"k", std::string(kSafetensorsHeaderBytesMax, 'x')}}).ok());
}

}  // namespace
}  // namespace quantd::server
