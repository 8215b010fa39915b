#include "client/cpp/resuming_sink.h"

#include "gtest/gtest.h"
#include "tests/client/recording_sink.h"

namespace quantd {
namespace {

std::span<const std::byte> BytesOf(const std::string& text) { return std::as_bytes(std::span(text)); }

class ResumingSinkTest : public ::testing::Test {
 protected:
  absl::Status Begin(uint64_t codes_bytes = 10) {
    const SegmentView segments[] = {{"codes", DataType::kUint8, {codes_bytes}, {}},
                                    {"scales", DataType::kUint8, {4}, {}}};
    const uint64_t sizes[] = {codes_bytes, 4};
    return sink_.Begin({.preset = "toy", .format_revision = 1}, segments, sizes);
  }

  RecordingSink target_;
  ResumingSink sink_{target_};
};

TEST_F(ResumingSinkTest, DropsWhatTheTargetHas) {
  ASSERT_TRUE(Begin().ok());
  EXPECT_TRUE(sink_.Write("codes", 0, BytesOf("abcdef")).ok());
  ASSERT_TRUE(Begin().ok());
  EXPECT_TRUE(sink_.Write("codes", 2, BytesOf("cd")).ok());
  EXPECT_TRUE(sink_.Write("codes", 4, BytesOf("efgh")).ok());
  EXPECT_EQ(target_.written["codes"], "abcdefgh");
  EXPECT_EQ(target_.begins, 1);
  EXPECT_EQ(sink_.delivered_bytes(), 8u);
}

TEST_F(ResumingSinkTest, KeepsSegmentsApart) {
  ASSERT_TRUE(Begin().ok());
  EXPECT_TRUE(sink_.Write("codes", 0, BytesOf("abc")).ok());
  EXPECT_TRUE(sink_.Write("scales", 0, BytesOf("12")).ok());
  EXPECT_TRUE(sink_.Write("scales", 1, BytesOf("234")).ok());
  EXPECT_EQ(target_.written["scales"], "1234");
}

TEST_F(ResumingSinkTest, RefusesAGap) {
  ASSERT_TRUE(Begin().ok());
  EXPECT_TRUE(sink_.Write("codes", 0, BytesOf("a")).ok());
  EXPECT_EQ(sink_.Write("codes", 2, BytesOf("c")).code(), absl::StatusCode::kInternal);
}

TEST_F(ResumingSinkTest, RefusesAnotherPromise) {
  ASSERT_TRUE(Begin().ok());
  EXPECT_EQ(Begin(11).code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(ResumingSinkTest, HandsOnTheTargetsRefusal) {
  ASSERT_TRUE(Begin().ok());
  target_.refusal = absl::DataLossError("disk");
  EXPECT_EQ(sink_.Write("codes", 0, BytesOf("a")), target_.refusal);
  EXPECT_EQ(sink_.delivered_bytes(), 0u);
}

}  // namespace
}  // namespace quantd
