#include "server/conversion/safetensors_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <filesystem>
#include <functional>

#include "server/conversion/safetensors_reader.h"
#include "tests/conversion/temporary_folder.h"

namespace quantd::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const SafetensorsDtype kU8 = *SafetensorsDtypeNamed("U8");
const SafetensorsDtype kF32 = *SafetensorsDtypeNamed("F32");

std::span<const std::byte> Bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

// The system's calls, unless a test puts another in their place.
class InjectedFileOps final : public FileOps {
 public:
  std::function<ssize_t(int, const std::byte*, size_t, uint64_t)> pwrite;
  int allocate_error = 0, fsync_error = 0, rename_error = 0;

  ssize_t Pread(int fd, std::byte* target, size_t bytes, uint64_t offset) override {
    return SystemFileOps().Pread(fd, target, bytes, offset);
  }
  ssize_t Pwrite(int fd, const std::byte* source, size_t bytes, uint64_t offset) override {
    return pwrite ? pwrite(fd, source, bytes, offset) : SystemFileOps().Pwrite(fd, source, bytes, offset);
  }
  int Allocate(int fd, uint64_t bytes) override {
    return Failed(allocate_error) ? -1 : SystemFileOps().Allocate(fd, bytes);
  }
  int Fsync(int fd) override { return Failed(fsync_error) ? -1 : SystemFileOps().Fsync(fd); }
  int Rename(const std::string& from, const std::string& to) override {
    return Failed(rename_error) ? -1 : SystemFileOps().Rename(from, to);
  }

 private:
  static bool Failed(int error_number) {
    errno = error_number;
    return error_number != 0;
  }
};

class SafetensorsWriterTest : public ::testing::Test {
 protected:
  std::unique_ptr<SafetensorsWriter> Create(std::vector<SafetensorsDeclaration> tensors) {
    auto writer = SafetensorsWriter::Create(path_, std::move(tensors), {}, ops_);
    EXPECT_TRUE(writer.ok()) << writer.status();
    return *std::move(writer);
  }

  TemporaryFolder folder_;
  const std::string path_ = folder_.File("out.safetensors");
  InjectedFileOps ops_;
};

TEST_F(SafetensorsWriterTest, MakesTheBytesOfTheFormat) {
  auto writer = Create({{"w", kU8, {4}}});
  ASSERT_TRUE(writer->Write("w", 0, Bytes("abcd")).ok());
  ASSERT_TRUE(writer->Finish().ok());
  EXPECT_EQ(ReadFile(path_), SafetensorsBytes(R"({"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}   )", "abcd"));
}

TEST_F(SafetensorsWriterTest, TakesBytesInAnyOrder) {
  auto writer = Create({{"codes", kU8, {6}}, {"scales", kF32, {1}}});
  ASSERT_TRUE(writer->Write("codes", 4, Bytes("ef")).ok());
  ASSERT_TRUE(writer->Write("scales", 0, Bytes("1234")).ok());
  ASSERT_TRUE(writer->Write("codes", 0, Bytes("ab")).ok());
  ASSERT_TRUE(writer->Write("codes", 2, Bytes("cd")).ok());
  ASSERT_TRUE(writer->Finish().ok());
  const auto reader = SafetensorsReader::Open(path_);
  ASSERT_TRUE(reader.ok()) << reader.status();
  const auto codes = (*reader)->BytesOf(*(*reader)->Find("codes"));
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(codes.data()), codes.size()), "abcdef");
}

TEST_F(SafetensorsWriterTest, FinishesWithoutTensorsAndWithEmptyOnes) {
  ASSERT_TRUE(Create({})->Finish().ok());
  ASSERT_TRUE(Create({{"e", kF32, {0, 3}}})->Finish().ok());
  EXPECT_TRUE(SafetensorsReader::Open(path_).ok());
}

TEST_F(SafetensorsWriterTest, HasNoNameBeforeItIsComplete) {
  auto writer = Create({{"w", kU8, {1}}});
  EXPECT_FALSE(std::filesystem::exists(path_));
  ASSERT_THAT(folder_.Names(), ElementsAre(HasSubstr("out.safetensors.tmp-")));
  ASSERT_TRUE(writer->Write("w", 0, Bytes("a")).ok());
  ASSERT_TRUE(writer->Finish().ok());
  EXPECT_THAT(folder_.Names(), ElementsAre("out.safetensors"));
}

TEST_F(SafetensorsWriterTest, KeepsAnOlderFileUntilItIsComplete) {
  WriteFile(path_, "older");
  {
    const auto abandoned = Create({{"w", kU8, {1}}});
  }
  EXPECT_EQ(ReadFile(path_), "older");
  EXPECT_THAT(folder_.Names(), ElementsAre("out.safetensors"));
}

TEST_F(SafetensorsWriterTest, RefusesToFinishWithMissingBytes) {
  for (const uint64_t missing : {0, 1, 2}) {
    auto writer = Create({{"w", kU8, {3}}});
    for (uint64_t i = 0; i < 3; ++i) {
      if (i != missing) {
        ASSERT_TRUE(writer->Write("w", i, Bytes("x")).ok());
      }
    }
    const absl::Status status = writer->Finish();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(status.message()), HasSubstr("'w'"));
  }
  EXPECT_THAT(folder_.Names(), IsEmpty());
}

TEST_F(SafetensorsWriterTest, RefusesBytesThatCameBefore) {
  auto writer = Create({{"w", kU8, {8}}});
  ASSERT_TRUE(writer->Write("w", 2, Bytes("xxxx")).ok());
  for (const auto& [offset, text] : std::initializer_list<std::pair<uint64_t, const char*>>{
           {2, "x"}, {5, "xx"}, {0, "xxx"}, {0, "xxxxxxxx"}, {3, "x"}}) {
    EXPECT_EQ(writer->Write("w", offset, Bytes(text)).code(), absl::StatusCode::kAlreadyExists) << offset;
  }
  EXPECT_TRUE(writer->Write("w", 0, Bytes("xx")).ok());
  EXPECT_TRUE(writer->Write("w", 6, Bytes("xx")).ok());
  EXPECT_TRUE(writer->Finish().ok());
}

TEST_F(SafetensorsWriterTest, RefusesBytesBeyondATensorAndUnknownTensors) {
  auto writer = Create({{"w", kU8, {4}}});
  EXPECT_EQ(writer->Write("w", 3, Bytes("xx")).code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(writer->Write("w", UINT64_MAX, Bytes("xx")).code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(writer->Write("v", 0, Bytes("x")).code(), absl::StatusCode::kNotFound);
}

TEST_F(SafetensorsWriterTest, RefusesTooManySeparateRuns) {
  auto writer = Create({{"w", kU8, {1'000'000}}});
  absl::Status status;
  size_t runs = 0;
  while (status.ok() && runs <= SafetensorsWriter::kRunsMax) status = writer->Write("w", 2 * runs++, Bytes("x"));
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(runs, SafetensorsWriter::kRunsMax + 1);
}

TEST_F(SafetensorsWriterTest, SurvivesShortAndInterruptedWrites) {
  int calls = 0;
  ops_.pwrite = [&](int fd, const std::byte* source, size_t, uint64_t offset) -> ssize_t {
    errno = EINTR;
    return ++calls % 2 == 0 ? -1 : SystemFileOps().Pwrite(fd, source, 1, offset);
  };
  auto writer = Create({{"w", kU8, {4}}});
  ASSERT_TRUE(writer->Write("w", 0, Bytes("abcd")).ok());
  ASSERT_TRUE(writer->Finish().ok());
  EXPECT_TRUE(SafetensorsReader::Open(path_).ok());
}

TEST_F(SafetensorsWriterTest, SaysThatTheDiskIsFullBeforeAnyByteComes) {
  ops_.allocate_error = ENOSPC;
  const absl::Status status = SafetensorsWriter::Create(path_, {{"w", kU8, {4}}}, {}, ops_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("free some space"));
  EXPECT_THAT(folder_.Names(), IsEmpty());
}

TEST_F(SafetensorsWriterTest, LeavesNothingWhenTheDiskFillsLater) {
  {
    auto writer = Create({{"w", kU8, {4}}});
    ops_.pwrite = [](int, const std::byte*, size_t, uint64_t) -> ssize_t {
      errno = ENOSPC;
      return -1;
    };
    EXPECT_EQ(writer->Write("w", 0, Bytes("abcd")).code(), absl::StatusCode::kResourceExhausted);
  }
  EXPECT_THAT(folder_.Names(), IsEmpty());
}

TEST_F(SafetensorsWriterTest, LeavesNothingWhenSyncOrRenameFails) {
  for (int* error_number : {&ops_.fsync_error, &ops_.rename_error}) {
    *error_number = EIO;
    EXPECT_EQ(Create({})->Finish().code(), absl::StatusCode::kInternal);
    EXPECT_THAT(folder_.Names(), IsEmpty());
    *error_number = 0;
  }
}

TEST_F(SafetensorsWriterTest, DoesNotReplaceWhatIsNoFile) {
  EXPECT_EQ(SafetensorsWriter::Create("/dev/null", {}, {}).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(SafetensorsWriter::Create(folder_.File("."), {}, {}).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(SafetensorsWriter::Create(folder_.File("none/out"), {}, {}).status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace quantd::server
