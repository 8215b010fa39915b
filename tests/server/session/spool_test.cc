#include "server/session/spool.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"

namespace quantd::server {
namespace {

using Bytes = std::vector<std::byte>;

constexpr uint64_t kFileBytes = 5000;  // beyond memory_bytes_max below

SpoolOptions Options() {
  return {
      .directory = ::testing::TempDir(), .bytes_max = 20000, .bytes_per_stream_max = 10000, .memory_bytes_max = 4000};
}

Bytes Pattern(size_t size, int seed) {
  Bytes bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 7 + static_cast<size_t>(seed));
  return bytes;
}

void ExpectError(const absl::Status& status, absl::StatusCode code, std::string_view reason) {
  EXPECT_EQ(status.code(), code) << status;
  EXPECT_EQ(DetailsOf(status).reason, reason) << status;
}

class SpoolForm : public ::testing::TestWithParam<uint64_t> {};

TEST_P(SpoolForm, GivesBackWhatWasWrittenInAnyOrder) {
  SpoolBudget budget(Options());
  const auto spool = budget.Reserve(GetParam(), "offset").value();
  EXPECT_EQ(spool->bytes(), GetParam());
  const Bytes source = Pattern(GetParam(), 3);
  const size_t half = source.size() / 2;
  ASSERT_TRUE(spool->WriteAt(half, std::span(source).subspan(half)).ok());
  ASSERT_TRUE(spool->WriteAt(0, std::span(source).first(half)).ok());
  Bytes target(source.size());
  ASSERT_TRUE(spool->ReadAt(0, target).ok());
  EXPECT_EQ(target, source);
  Bytes tail(10);
  ASSERT_TRUE(spool->ReadAt(source.size() - 10, tail).ok());
  EXPECT_TRUE(std::equal(tail.begin(), tail.end(), source.end() - 10));
}

INSTANTIATE_TEST_SUITE_P(, SpoolForm, ::testing::Values(4000, kFileBytes), [](const auto& info) {
  return info.param > Options().memory_bytes_max ? "InAFile" : "InMemory";
});

TEST(SpoolBudget, MemoryUpToItsLimitOpensNoFile) {
  SpoolFileOps ops = SpoolFileOps::Real();
  int opened = 0;
  ops.open_unnamed = [&](const std::string& directory) {
    ++opened;
    return SpoolFileOps::Real().open_unnamed(directory);
  };
  SpoolBudget budget(Options(), ops);
  const auto in_memory = budget.Reserve(4000, "offset");
  EXPECT_EQ(opened, 0);
  const auto in_file = budget.Reserve(4001, "offset");
  EXPECT_EQ(opened, 1);
}

TEST(SpoolBudget, TheMemoryOfAllSpoolsTogetherIsBoundedAndTheRestAreFiles) {
  SpoolFileOps ops = SpoolFileOps::Real();
  int opened = 0;
  ops.open_unnamed = [&](const std::string& directory) {
    ++opened;
    return SpoolFileOps::Real().open_unnamed(directory);
  };
  SpoolBudget budget(Options(), ops);
  auto first = budget.Reserve(3000, "offset");
  const auto second = budget.Reserve(1001, "offset");
  EXPECT_EQ(opened, 1) << "the second would make it more than 4000 bytes";
  const auto third = budget.Reserve(1000, "offset");
  EXPECT_EQ(opened, 1);
  first->reset();
  const auto fourth = budget.Reserve(3000, "offset");
  EXPECT_EQ(opened, 1) << "memory that is released is used again";
}

TEST(SpoolBudget, FilesLeaveNoNameBehind) {
  const std::filesystem::path directory = std::filesystem::path(::testing::TempDir()) / "quantd_spool_test";
  std::filesystem::create_directories(directory);
  SpoolOptions options = Options();
  options.directory = directory;
  SpoolBudget budget(options);
  const auto spool = budget.Reserve(kFileBytes, "offset");
  ASSERT_TRUE(spool.ok());
  EXPECT_TRUE(std::filesystem::is_empty(directory));
  std::filesystem::remove_all(directory);
}

TEST(SpoolBudget, OneStreamMayHaveItsLimitToTheLastByte) {
  SpoolBudget budget(Options());
  EXPECT_TRUE(budget.Reserve(10000, "offset").ok());
  ExpectError(budget.Reserve(10001, "offset").status(), absl::StatusCode::kResourceExhausted, reason::kSpoolBudget);
  ExpectError(budget.Reserve(UINT64_MAX, "offset").status(), absl::StatusCode::kResourceExhausted,
              reason::kSpoolBudget);
  EXPECT_EQ(budget.bytes_reserved(), 0u);
}

TEST(SpoolBudget, AllStreamsTogetherMayHaveTheServersLimitToTheLastByte) {
  SpoolBudget budget(Options());
  auto one = budget.Reserve(10000, "offset");
  auto two = budget.Reserve(9999, "offset");
  auto three = budget.Reserve(1, "offset");
  EXPECT_EQ(budget.bytes_reserved(), 20000u);
  const absl::Status refusal = budget.Reserve(1, "offset").status();
  ExpectError(refusal, absl::StatusCode::kResourceExhausted, reason::kSpoolBudget);
  EXPECT_NE(refusal.message().find("offset"), std::string::npos) << "the remedy is missing: " << refusal;
  one->reset();
  EXPECT_TRUE(budget.Reserve(10000, "offset").ok());
}

TEST(SpoolBudget, AFileThatCannotBeOpenedTakesNoBudget) {
  SpoolFileOps ops = SpoolFileOps::Real();
  ops.open_unnamed = [](const std::string&) {
    errno = EACCES;
    return -1;
  };
  SpoolBudget budget(Options(), ops);
  ExpectError(budget.Reserve(kFileBytes, "offset").status(), absl::StatusCode::kInternal, reason::kSpoolFailed);
  EXPECT_EQ(budget.bytes_reserved(), 0u);
}

TEST(SpoolBudget, ADirectoryThatDoesNotExistIsSaidSo) {
  SpoolOptions options = Options();
  options.directory = ::testing::TempDir() + "/does/not/exist";
  SpoolBudget budget(options);
  const absl::Status status = budget.Reserve(kFileBytes, "offset").status();
  ExpectError(status, absl::StatusCode::kInternal, reason::kSpoolFailed);
  EXPECT_NE(status.message().find("spool_directory"), std::string::npos) << status;
}

class SpoolFaults : public ::testing::Test {
 protected:
  SpoolFileOps ops_ = SpoolFileOps::Real();
  const Bytes source_ = Pattern(kFileBytes, 1);
};

TEST_F(SpoolFaults, AFullDiskIsResourceExhausted) {
  ops_.pwrite = [](int, const void*, size_t, off_t) -> ssize_t {
    errno = ENOSPC;
    return -1;
  };
  SpoolBudget budget(Options(), ops_);
  const auto spool = budget.Reserve(kFileBytes, "offset").value();
  ExpectError(spool->WriteAt(0, source_), absl::StatusCode::kResourceExhausted, reason::kSpoolFailed);
}

TEST_F(SpoolFaults, AWriteThatTakesNothingEnds) {
  ops_.pwrite = [](int, const void*, size_t, off_t) -> ssize_t { return 0; };
  SpoolBudget budget(Options(), ops_);
  const auto spool = budget.Reserve(kFileBytes, "offset").value();
  ExpectError(spool->WriteAt(0, source_), absl::StatusCode::kResourceExhausted, reason::kSpoolFailed);
}

TEST_F(SpoolFaults, AFailingDiskIsInternal) {
  ops_.pwrite = [](int, const void*, size_t, off_t) -> ssize_t {
    errno = EIO;
    return -1;
  };
  ops_.pread = [](int, void*, size_t, off_t) -> ssize_t {
    errno = EIO;
    return -1;
  };
  SpoolBudget budget(Options(), ops_);
  const auto spool = budget.Reserve(kFileBytes, "offset").value();
  Bytes target(kFileBytes);
  ExpectError(spool->WriteAt(0, source_), absl::StatusCode::kInternal, reason::kSpoolFailed);
  ExpectError(spool->ReadAt(0, target), absl::StatusCode::kInternal, reason::kSpoolFailed);
}

TEST_F(SpoolFaults, AFileThatEndsTooEarlyIsInternal) {
  SpoolBudget budget(Options(), ops_);
  const auto spool = budget.Reserve(kFileBytes, "offset").value();
  Bytes target(kFileBytes);
  ExpectError(spool->ReadAt(0, target), absl::StatusCode::kInternal, reason::kSpoolFailed);
}

TEST_F(SpoolFaults, ShortAndInterruptedTransfersGoOn) {
  int calls = 0;
  const auto interrupted = [&] {
    errno = EINTR;
    return ++calls % 2 == 0;
  };
  ops_.pwrite = [&](int fd, const void* source, size_t size, off_t offset) -> ssize_t {
    return interrupted() ? -1 : pwrite(fd, source, std::min<size_t>(size, 700), offset);
  };
  ops_.pread = [&](int fd, void* target, size_t size, off_t offset) -> ssize_t {
    return interrupted() ? -1 : pread(fd, target, std::min<size_t>(size, 300), offset);
  };
  SpoolBudget budget(Options(), ops_);
  const auto spool = budget.Reserve(kFileBytes, "offset").value();
  Bytes target(kFileBytes);
  ASSERT_TRUE(spool->WriteAt(0, source_).ok());
  ASSERT_TRUE(spool->ReadAt(0, target).ok());
  EXPECT_EQ(target, source_);
}

}  // namespace
}  // namespace quantd::server
