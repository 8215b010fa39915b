#include "server/conversion/safetensors_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>

#include "tests/conversion/temporary_folder.h"

namespace quantd::server {
namespace {

using ::testing::HasSubstr;

constexpr char kJson[] = R"({"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})";

class SafetensorsReaderTest : public ::testing::Test {
 protected:
  std::string Make(std::string_view bytes) {
    const std::string path = folder_.File("in.safetensors");
    WriteFile(path, bytes);
    return path;
  }
  absl::Status OpenError(std::string_view bytes) { return SafetensorsReader::Open(Make(bytes)).status(); }

  TemporaryFolder folder_;
};

TEST_F(SafetensorsReaderTest, GivesTheBytesOfATensor) {
  const auto reader = SafetensorsReader::Open(Make(SafetensorsBytes(kJson, "abcd")));
  ASSERT_TRUE(reader.ok()) << reader.status();
  const SafetensorsEntry* entry = (*reader)->Find("w");
  ASSERT_NE(entry, nullptr);
  const auto bytes = (*reader)->BytesOf(*entry);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()), "abcd");
  EXPECT_EQ((*reader)->Find("x"), nullptr);
}

TEST_F(SafetensorsReaderTest, RefusesEveryTruncation) {
  const std::string whole = SafetensorsBytes(kJson, "abcd");
  for (size_t length = 0; length < whole.size(); ++length) {
    EXPECT_EQ(OpenError(whole.substr(0, length)).code(), absl::StatusCode::kInvalidArgument) << length;
  }
  EXPECT_TRUE(OpenError(whole).ok());
}

TEST_F(SafetensorsReaderTest, RefusesTrailingBytes) {
  EXPECT_THAT(std::string(OpenError(SafetensorsBytes(kJson, "abcde")).message()), HasSubstr("end at byte 4 of 5"));
}

TEST_F(SafetensorsReaderTest, RefusesAHeaderLengthThatLies) {
  std::string file = SafetensorsBytes(kJson, "abcd");
  for (int shift = 0; shift < 64; ++shift) {
    for (int i = 0; i < 8; ++i) file[i] = static_cast<char>((uint64_t{1} << shift) >> (8 * i) & 0xFF);
    EXPECT_EQ(OpenError(file).code(), absl::StatusCode::kInvalidArgument) << shift;
  }
  file.replace(0, 8, 8, '\xff');
  EXPECT_THAT(std::string(OpenError(file).message()), HasSubstr("more than the format's 100000000"));
}

TEST_F(SafetensorsReaderTest, NamesTheFileInEveryError) {
  EXPECT_THAT(std::string(OpenError("x").message()), HasSubstr("in.safetensors"));
  const absl::Status missing = SafetensorsReader::Open(folder_.File("none")).status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.message()), HasSubstr("none"));
}

TEST_F(SafetensorsReaderTest, RefusesWhatIsNoRegularFileWithoutWaiting) {
  const std::string pipe = folder_.File("pipe");
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_THAT(std::string(SafetensorsReader::Open(pipe).status().message()), HasSubstr("not a regular file"));
  EXPECT_FALSE(SafetensorsReader::Open(folder_.File(".")).ok());
}

TEST_F(SafetensorsReaderTest, FindsThatTheFileShrank) {
  const std::string path = Make(SafetensorsBytes(kJson, "abcd"));
  const auto reader = SafetensorsReader::Open(path);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_TRUE((*reader)->StillWhole().ok());
  std::filesystem::resize_file(path, 3);
  EXPECT_EQ((*reader)->StillWhole().code(), absl::StatusCode::kAborted);
}

TEST_F(SafetensorsReaderTest, ReadsReleasedBytesAgain) {
  const std::string data(1 << 20, 'x');
  const auto reader = SafetensorsReader::Open(
      Make(SafetensorsBytes(R"({"w":{"dtype":"U8","shape":[1048576],"data_offsets":[0,1048576]}})", data)));
  ASSERT_TRUE(reader.ok()) << reader.status();
  const auto bytes = (*reader)->BytesOf((*reader)->tensors().front());
  (*reader)->Release(bytes);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()), data);
}

// Reads a byte at a time; every other call is interrupted; from `fail_at` on, errors.
class StutteringFileOps final : public FileOps {
 public:
  explicit StutteringFileOps(uint64_t fail_at = UINT64_MAX, int error_number = 0)
      : fail_at_(fail_at), error_number_(error_number) {}

  ssize_t Pread(int fd, std::byte* target, size_t, uint64_t offset) override {
    if (offset >= fail_at_) {
      errno = error_number_;
      return error_number_ == 0 ? 0 : -1;
    }
    if (++calls_ % 2 == 0) {
      errno = EINTR;
      return -1;
    }
    return SystemFileOps().Pread(fd, target, 1, offset);
  }
  ssize_t Pwrite(int, const std::byte*, size_t, uint64_t) override { return -1; }
  int Allocate(int, uint64_t) override { return -1; }
  int Fsync(int) override { return -1; }
  int Rename(const std::string&, const std::string&) override { return -1; }

 private:
  const uint64_t fail_at_;
  const int error_number_;
  int calls_ = 0;
};

TEST_F(SafetensorsReaderTest, SurvivesShortAndInterruptedReads) {
  StutteringFileOps ops;
  EXPECT_TRUE(SafetensorsReader::Open(Make(SafetensorsBytes(kJson, "abcd")), ops).ok());
}

TEST_F(SafetensorsReaderTest, ReportsAFileThatEndsWhileItIsRead) {
  StutteringFileOps ops(20);
  EXPECT_EQ(SafetensorsReader::Open(Make(SafetensorsBytes(kJson, "abcd")), ops).status().code(),
            absl::StatusCode::kAborted);
}

TEST_F(SafetensorsReaderTest, ReportsAFailingDisk) {
  StutteringFileOps ops(20, EIO);
  const absl::Status status = SafetensorsReader::Open(Make(SafetensorsBytes(kJson, "abcd")), ops).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), HasSubstr("Input/output error"));
}

}  // namespace
}  // namespace quantd::server
