#include "client/cli/segment_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/cli/exit_code.h"
#include "tests/conversion/temporary_folder.h"

namespace quantd::cli {
namespace {

class SegmentWriterTest : public ::testing::Test {
 protected:
  SegmentWriterTest() {
    auto writer = server::SafetensorsWriter::Create(folder_.File("out"),
                                                    {{"w.codes", *server::SafetensorsDtypeNamed("U8"), {4}}}, {});
    writer_ = *std::move(writer);
  }

  absl::Status Begin(const SchemeRequest& scheme, const SegmentView& segment, uint64_t bytes) {
    SegmentWriter sink(scheme_, expected_, *writer_);
    const uint64_t sizes[] = {bytes};
    return sink.Begin(scheme, std::span(&segment, 1), sizes);
  }

  TemporaryFolder folder_;
  std::unique_ptr<server::SafetensorsWriter> writer_;
  const SchemeRequest scheme_{"bnb-nf4", {{"block_size", "64"}}, 1};
  const std::vector<ExpectedSegment> expected_{{"codes", "w.codes", DataType::kUint8, {4}, 4}};
};

TEST_F(SegmentWriterTest, TakesExactlyWhatIsExpected) {
  EXPECT_TRUE(Begin(scheme_, {"codes", DataType::kUint8, {4}, {}}, 4).ok());
}

TEST_F(SegmentWriterTest, RefusesAnotherScheme) {
  const SegmentView codes{"codes", DataType::kUint8, {4}, {}};
  EXPECT_FALSE(Begin({"bnb-fp4", {{"block_size", "64"}}, 1}, codes, 4).ok());
  EXPECT_FALSE(Begin({"bnb-nf4", {{"block_size", "32"}}, 1}, codes, 4).ok());
  EXPECT_FALSE(Begin({"bnb-nf4", {{"block_size", "64"}}, 2}, codes, 4).ok());
}

TEST_F(SegmentWriterTest, RefusesOtherSegments) {
  EXPECT_FALSE(Begin(scheme_, {"scales", DataType::kUint8, {4}, {}}, 4).ok());
  EXPECT_FALSE(Begin(scheme_, {"codes", DataType::kFloat32, {4}, {}}, 4).ok());
  EXPECT_FALSE(Begin(scheme_, {"codes", DataType::kUint8, {2, 2}, {}}, 4).ok());
  EXPECT_FALSE(Begin(scheme_, {"codes", DataType::kUint8, {4}, {}}, 5).ok());
  SegmentWriter sink(scheme_, expected_, *writer_);
  EXPECT_FALSE(sink.Begin(scheme_, {}, {}).ok());
  EXPECT_FALSE(sink.Write("codes", 0, {}).ok()) << "before Begin";
}

TEST_F(SegmentWriterTest, CallsAFailedWriteAFileError) {
  SegmentWriter sink(scheme_, expected_, *writer_);
  const SegmentView codes{"codes", DataType::kUint8, {4}, {}};
  const uint64_t sizes[] = {4};
  ASSERT_TRUE(sink.Begin(scheme_, std::span(&codes, 1), sizes).ok());
  const std::byte bytes[4] = {};
  EXPECT_TRUE(sink.Write("codes", 0, bytes).ok());
  EXPECT_EQ(sink.written_bytes(), 4u);
  EXPECT_EQ(ExitCodeOf(sink.Write("codes", 0, bytes)), ExitCode::kFile);
}

}  // namespace
}  // namespace quantd::cli
