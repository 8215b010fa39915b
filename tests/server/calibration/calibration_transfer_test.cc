// Export and import of sessions, without a wire.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <span>

#include "kernels/base/crc32c.h"
#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "server/calibration/calibration_export.h"
#include "server/calibration/calibration_import.h"
#include "tests/support/fake_clock.h"

namespace quantd::server {
namespace {

using testing::FakeClock;

const Principal kAnn{"ann"};

std::string ReasonOf(const absl::Status& status) { return DetailsOf(status).reason; }

class CalibrationTransferTest : public ::testing::Test {
 protected:
  void Contribute(const std::string& session_id, const std::string& tensor, const std::string& contribution_id,
                  std::vector<float> values) {
    auto session = store.Join(kAnn, session_id, StatisticsConfig(), 0);
    ASSERT_TRUE(session.ok()) << session.status();
    auto begun = (*session)->Begin(tensor, contribution_id, DataType::kFloat32, {values.size()}, clock.Now());
    ASSERT_TRUE(begun.ok()) << begun.status();
    (*begun)->statistics.Add(0, std::as_bytes(std::span(values)));
    ASSERT_TRUE((*session)->Count(tensor, contribution_id, **std::move(begun), clock.Now())->counted);
  }

  std::string Export(const std::string& session_id, size_t part_bytes = 1 << 20) {
    const auto session = *store.Find(kAnn, session_id);
    session->Seal(clock.Now());
    const auto source = CalibrationExport::Start(session, clock.Now());
    std::string all;
    while (true) {
      const std::string part = *(*source)->Next(part_bytes);
      EXPECT_LE(part.size(), part_bytes);
      if (part.empty()) return all;
      all += part;
    }
  }

  absl::StatusOr<CalibrationImport::Result> Import(const std::string& session_id, const std::string& import_id,
                                                   const std::string& bytes, size_t part_bytes = 1 << 20) {
    auto import = CalibrationImport::Start({session_id, import_id, 0}, kAnn, store, 512, uint64_t{1} << 30);
    if (!import.ok()) return import.status();
    for (size_t at = 0; at < bytes.size(); at += part_bytes) {
      const std::string part = bytes.substr(at, part_bytes);
      if (absl::Status status = (*import)->Feed(std::as_bytes(std::span(part))); !status.ok()) return status;
    }
    return (*import)->Finish();
  }

  FakeClock clock;
  const CalibrationLimits limits;
  CalibrationStore store{limits, clock};
};

TEST_F(CalibrationTransferTest, TheBytesDoNotDependOnTheParts) {
  for (int i = 0; i < 20; ++i) Contribute("s", "layer." + std::to_string(i), "a", {1.5f * i, -2.f * i, 3});
  const std::string whole = Export("s");
  EXPECT_EQ(Export("s", 1), whole);
  EXPECT_EQ(Export("s", 1000), whole);
  const auto digest = DigestOf(*store.Find(kAnn, "s"), clock.Now());
  EXPECT_EQ(digest->size_bytes, whole.size());
  EXPECT_EQ(digest->crc32c, ExtendCrc32c(0, std::as_bytes(std::span(whole))));
}

TEST_F(CalibrationTransferTest, AnOpenSessionIsNotExported) {
  Contribute("s", "w", "a", {1});
  EXPECT_EQ(ReasonOf(CalibrationExport::Start(*store.Find(kAnn, "s"), clock.Now()).status()), reason::kCalibrationOpen);
}

TEST_F(CalibrationTransferTest, ThreeStatesMergeToTheSameBytesInEveryOrder) {
  Contribute("all", "w", "0", {1, 2, 3});
  Contribute("all", "w", "1", {-0.125f, 1e30f});
  Contribute("all", "w", "2", {7e-40f});
  Contribute("all", "v", "1", {5});
  Contribute("p0", "w", "0", {1, 2, 3});
  Contribute("p1", "w", "1", {-0.125f, 1e30f});
  Contribute("p1", "v", "1", {5});
  Contribute("p2", "w", "2", {7e-40f});
  const std::string expected = Export("all");
  const std::string parts[] = {Export("p0"), Export("p1"), Export("p2")};
  std::vector<int> order(3);
  std::iota(order.begin(), order.end(), 0);
  do {
    const std::string target =
        "merged-" + std::to_string(order[0]) + std::to_string(order[1]) + std::to_string(order[2]);
    for (const int part : order) {
      ASSERT_TRUE(Import(target, "part-" + std::to_string(part), parts[part], 7).ok());
    }
    EXPECT_EQ(Export(target), expected);
    ASSERT_TRUE(store.Delete(kAnn, target).ok());
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_F(CalibrationTransferTest, AnImportCountsOnceForEachId) {
  Contribute("s", "w", "a", {1, 2});
  const std::string bytes = Export("s");
  EXPECT_EQ(Import("t", "file", bytes)->merged_tensors, 1u);
  const auto again = Import("t", "file", bytes);
  EXPECT_EQ(again->merged_tensors, 0u);
  EXPECT_EQ(again->repeated_tensors, 1u);
  EXPECT_EQ(Export("t"), bytes);
}

TEST_F(CalibrationTransferTest, AFileThatIsNotWholeLeavesNothingBehind) {
  Contribute("s", "w", "a", {1, 2});
  Contribute("s", "x", "a", {3});
  const std::string bytes = Export("s");
  const uint64_t reserved_before = store.bytes_reserved();
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_EQ(ReasonOf(Import("t", "file", bytes.substr(0, size)).status()), reason::kMalformedQcal) << size;
  }
  std::string damaged = bytes;
  damaged[damaged.size() / 2] ^= 1;
  EXPECT_FALSE(Import("t", "file", damaged).ok());
  EXPECT_EQ(store.session_count(), 1u);
  EXPECT_EQ(store.bytes_reserved(), reserved_before);
}

TEST_F(CalibrationTransferTest, AllOfAFileCountsOrNothing) {
  Contribute("s", "a", "x", {1});
  Contribute("s", "b", "x", {2});
  const std::string bytes = Export("s");
  // "b" is of another type where the file is to go.
  auto session = store.Join(kAnn, "t", StatisticsConfig(), 0);
  auto begun = (*session)->Begin("b", "y", DataType::kBFloat16, {1}, clock.Now());
  ASSERT_TRUE((*session)->Count("b", "y", **std::move(begun), clock.Now()).ok());
  EXPECT_EQ(ReasonOf(Import("t", "file", bytes).status()), reason::kIncompatibleStatistics);
  EXPECT_EQ((*session)->Describe(clock.Now()).tensor_count, 1u);
}

TEST_F(CalibrationTransferTest, NamesThatNoAnswerCouldCarryAreRefused) {
  for (const std::string& name : {std::string("\xff"), std::string(513, 'a')}) {
    Calibration calibration;
    calibration.tensors.emplace(name, *TensorStatistics::Make({}, DataType::kFloat32, std::vector<uint64_t>{1}));
    const std::vector<std::byte> bytes = ToQcal(calibration);
    EXPECT_EQ(ReasonOf(Import("t", "file", {reinterpret_cast<const char*>(bytes.data()), bytes.size()}).status()),
              reason::kInvalidName);
  }
}

TEST_F(CalibrationTransferTest, AnotherConfigurationIsRefused) {
  Contribute("s", "w", "a", {1});
  const std::string bytes = Export("s");
  const auto other = store.Join(kAnn, "t", {.collection = StatisticsCollection::kRange}, 0);
  EXPECT_EQ(ReasonOf(Import("t", "file", bytes).status()), reason::kCalibrationMismatch);
}

}  // namespace
}  // namespace quantd::server
