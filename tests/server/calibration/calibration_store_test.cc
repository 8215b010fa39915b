#include "server/calibration/calibration_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <span>

#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "server/calibration/calibration_export.h"
#include "tests/support/fake_clock.h"

namespace quantd::server {
namespace {

using ::testing::ElementsAre;
using testing::FakeClock;

const Principal kAnn{"ann"};
const Principal kBob{"bob"};
const StatisticsConfig kRange{.collection = StatisticsCollection::kRange};

std::string ReasonOf(const absl::Status& status) { return DetailsOf(status).reason; }

class CalibrationStoreTest : public ::testing::Test {
 protected:
  // Joins, contributes one vector of floats, and leaves.
  absl::StatusOr<CalibrationSummary> Contribute(const std::string& session_id, const std::string& tensor,
                                                const std::string& contribution_id, std::vector<float> values,
                                                uint32_t expected = 0, const Principal& principal = kAnn) {
    auto session = store.Join(principal, session_id, kRange, expected);
    if (!session.ok()) return session.status();
    auto begun = (*session)->Begin(tensor, contribution_id, DataType::kFloat32, {values.size()}, clock.Now());
    if (!begun.ok()) return begun.status();
    if (!begun->has_value()) return CalibrationSummary{false, (*session)->ContributionsOf(tensor)};
    (*begun)->statistics.Add(0, std::as_bytes(std::span(values)));
    return (*session)->Count(tensor, contribution_id, **std::move(begun), clock.Now());
  }

  float MaxOf(const std::string& session_id, const std::string& tensor) {
    const auto session = store.Find(kAnn, session_id);
    return (*session)->Read(tensor, clock.Now())->statistics->Total().highest;
  }

  FakeClock clock;
  CalibrationLimits limits{.session_bytes_max = 1 << 20,
                           .bytes_max = 2 << 20,
                           .sessions_max = 4,
                           .sessions_per_principal_max = 3,
                           .ttl = absl::Hours(1)};
  CalibrationStore store{limits, clock};
};

TEST_F(CalibrationStoreTest, AContributionCountsOnceForEachIdAndTensor) {
  EXPECT_TRUE(Contribute("s", "w", "rank-0", {1})->counted);
  EXPECT_TRUE(Contribute("s", "w", "rank-1", {2})->counted);
  EXPECT_TRUE(Contribute("s", "v", "rank-0", {3})->counted);
  const auto repeated = Contribute("s", "w", "rank-0", {100});
  EXPECT_FALSE(repeated->counted);
  EXPECT_EQ(repeated->contributions, 2u);
  (*store.Find(kAnn, "s"))->Seal(clock.Now());
  EXPECT_EQ(MaxOf("s", "w"), 2);
  const CalibrationInfo info = (*store.Find(kAnn, "s"))->Describe(clock.Now());
  EXPECT_EQ(info.tensor_count, 2u);
  EXPECT_EQ(info.contribution_count, 3u);
}

TEST_F(CalibrationStoreTest, OfTwoAtTheSameTimeUnderOneIdTheFirstToCompleteCounts) {
  auto session = *store.Join(kAnn, "s", kRange, 0);
  auto one = *session->Begin("w", "id", DataType::kFloat32, {1}, clock.Now());
  auto two = *session->Begin("w", "id", DataType::kFloat32, {1}, clock.Now());
  EXPECT_TRUE(session->Count("w", "id", *std::move(two), clock.Now())->counted);
  EXPECT_FALSE(session->Count("w", "id", *std::move(one), clock.Now())->counted);
}

TEST_F(CalibrationStoreTest, ResultsAreReadAfterTheSealOnly) {
  ASSERT_TRUE(Contribute("s", "w", "a", {1}).ok());
  const auto session = *store.Find(kAnn, "s");
  EXPECT_EQ(ReasonOf(session->Read("w", clock.Now()).status()), reason::kCalibrationOpen);
  EXPECT_EQ(ReasonOf(session->ReadAll(clock.Now()).status()), reason::kCalibrationOpen);
  session->Seal(clock.Now());
  session->Seal(clock.Now());  // once more does no harm
  EXPECT_TRUE(session->ReadAll(clock.Now()).ok());
  EXPECT_EQ(ReasonOf(session->Read("other", clock.Now()).status()), reason::kUnknownTensor);
  EXPECT_EQ(ReasonOf(Contribute("s", "w", "b", {1}).status()), reason::kCalibrationClosed);
  EXPECT_FALSE(Contribute("s", "w", "a", {1})->counted) << "a repeat is success";
}

TEST_F(CalibrationStoreTest, OrWhenAllExpectedContributionsAreThere) {
  ASSERT_TRUE(Contribute("s", "w", "a", {1}, 2).ok());
  const auto session = *store.Find(kAnn, "s");
  EXPECT_EQ(ReasonOf(session->Read("w", clock.Now()).status()), reason::kCalibrationOpen);
  ASSERT_TRUE(Contribute("s", "w", "b", {2}, 2).ok());
  EXPECT_TRUE(session->ReadAll(clock.Now()).ok());
  EXPECT_EQ(ReasonOf(Contribute("s", "w", "c", {3}).status()), reason::kCalibrationClosed);
  // Another tensor has begun: w can be read, the whole session cannot.
  ASSERT_TRUE(Contribute("s", "v", "a", {1}).ok());
  EXPECT_TRUE(session->Read("w", clock.Now()).ok());
  EXPECT_EQ(ReasonOf(session->ReadAll(clock.Now()).status()), reason::kCalibrationOpen);
}

TEST_F(CalibrationStoreTest, ASealBeatsAContributionThatIsUnderWay) {
  auto session = *store.Join(kAnn, "s", kRange, 0);
  auto begun = *session->Begin("w", "a", DataType::kFloat32, {1}, clock.Now());
  session->Seal(clock.Now());
  EXPECT_EQ(ReasonOf(session->Count("w", "a", *std::move(begun), clock.Now()).status()), reason::kCalibrationClosed);
}

TEST_F(CalibrationStoreTest, ConfigurationAndExpectationAreThoseOfTheFirst) {
  ASSERT_TRUE(Contribute("s", "w", "a", {1}, 2).ok());
  EXPECT_EQ(ReasonOf(store.Join(kAnn, "s", StatisticsConfig(), 0).status()), reason::kCalibrationMismatch);
  EXPECT_EQ(ReasonOf(store.Join(kAnn, "s", kRange, 3).status()), reason::kCalibrationMismatch);
  EXPECT_TRUE(store.Join(kAnn, "s", kRange, 0).ok());
}

TEST_F(CalibrationStoreTest, AnotherTypeOfATensorIsRefusedAtItsHeader) {
  ASSERT_TRUE(Contribute("s", "w", "a", {1}).ok());
  auto session = *store.Join(kAnn, "s", kRange, 0);
  EXPECT_EQ(ReasonOf(session->Begin("w", "b", DataType::kBFloat16, {1}, clock.Now()).status()),
            reason::kIncompatibleStatistics);
}

TEST_F(CalibrationStoreTest, ASessionBelongsToItsPrincipal) {
  ASSERT_TRUE(Contribute("s", "w", "a", {1}).ok());
  EXPECT_EQ(ReasonOf(store.Find(kBob, "s").status()), reason::kUnknownCalibration);
  EXPECT_EQ(ReasonOf(store.Delete(kBob, "s")), reason::kUnknownCalibration);
  EXPECT_TRUE(store.List(kBob, "", 10).empty());
  ASSERT_TRUE(Contribute("s", "w", "a", {7}, 0, kBob)->counted) << "the same name, another session";
  (*store.Find(kAnn, "s"))->Seal(clock.Now());
  EXPECT_EQ(MaxOf("s", "w"), 1);
}

TEST_F(CalibrationStoreTest, AListHasTheOwnSessionsPageByPage) {
  for (const char* id : {"c", "a", "b"}) ASSERT_TRUE(Contribute(id, "w", "x", {1}).ok());
  ASSERT_TRUE(Contribute("d", "w", "x", {1}, 0, kBob).ok());
  const auto ids = [&](const std::string& after, size_t count) {
    std::vector<std::string> result;
    for (const auto& session : store.List(kAnn, after, count)) result.push_back(session->id());
    return result;
  };
  EXPECT_THAT(ids("", 2), ElementsAre("a", "b"));
  EXPECT_THAT(ids("b", 2), ElementsAre("c"));
}

TEST_F(CalibrationStoreTest, AnUnusedSessionExpires) {
  ASSERT_TRUE(Contribute("s", "w", "a", {1}).ok());
  clock.Advance(absl::Minutes(59));
  EXPECT_TRUE(store.Find(kAnn, "s").ok());  // which is a use
  clock.Advance(absl::Minutes(59));
  store.DropExpired();
  EXPECT_EQ(store.session_count(), 1u);
  clock.Advance(absl::Minutes(2));
  store.DropExpired();
  EXPECT_EQ(store.session_count(), 0u);
  EXPECT_EQ(store.bytes_reserved(), 0u);
  EXPECT_EQ(ReasonOf(store.Find(kAnn, "s").status()), reason::kUnknownCalibration);
}

TEST_F(CalibrationStoreTest, ASessionInUseDoesNotExpire) {
  ASSERT_TRUE(Contribute("s", "w", "a", {1}).ok());
  const auto use = store.Join(kAnn, "s", kRange, 0);
  clock.Advance(absl::Hours(5));
  store.DropExpired();
  EXPECT_EQ(store.session_count(), 1u);
}

TEST_F(CalibrationStoreTest, WhatWasBegunAndGivenUpLeavesNothing) {
  {
    const auto one = store.Join(kAnn, "s", kRange, 0);
    const auto two = store.Join(kAnn, "s", kRange, 0);
    const auto begun = (*one)->Begin("w", "a", DataType::kFloat32, {1}, clock.Now());
    EXPECT_GT(store.bytes_reserved(), 0u);
    EXPECT_EQ(store.session_count(), 1u);
  }
  EXPECT_EQ(store.bytes_reserved(), 0u);
  EXPECT_EQ(store.session_count(), 0u);
}

TEST_F(CalibrationStoreTest, ADeletedSessionTakesWhatIsOnItsWayWithIt) {
  auto session = *store.Join(kAnn, "s", kRange, 0);
  auto begun = *session->Begin("w", "a", DataType::kFloat32, {1}, clock.Now());
  ASSERT_TRUE(store.Delete(kAnn, "s").ok());
  EXPECT_EQ(ReasonOf(session->Count("w", "a", *std::move(begun), clock.Now()).status()), reason::kUnknownCalibration);
  EXPECT_EQ(ReasonOf(store.Delete(kAnn, "s")), reason::kUnknownCalibration);
}

TEST_F(CalibrationStoreTest, SessionsAreLimitedForEachPrincipalAndInAll) {
  const Principal carl{"carl"};
  for (const char* id : {"a", "b", "c"}) ASSERT_TRUE(Contribute(id, "w", "x", {1}).ok());
  EXPECT_EQ(ReasonOf(Contribute("d", "w", "x", {1}).status()), reason::kCalibrationBudget);
  ASSERT_TRUE(Contribute("d", "w", "x", {1}, 0, kBob).ok());
  EXPECT_EQ(ReasonOf(Contribute("e", "w", "x", {1}, 0, carl).status()), reason::kCalibrationBudget);
  ASSERT_TRUE(store.Delete(kAnn, "a").ok());
  EXPECT_TRUE(Contribute("e", "w", "x", {1}, 0, carl).ok());
}

TEST_F(CalibrationStoreTest, MemoryIsRefusedBeforeItIsTaken) {
  // A bucket for each of so many channels takes more than the session may have.
  const StatisticsConfig channels{.grouping = StatisticsGrouping::kChannel, .collection = StatisticsCollection::kRange};
  auto session = *store.Join(kAnn, "s", channels, 0);
  const auto begun = session->Begin("w", "a", DataType::kFloat32, {1, 1 << 17}, clock.Now());
  EXPECT_EQ(begun.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(begun.status()), reason::kCalibrationBudget);
  EXPECT_EQ(store.bytes_reserved(), 0u);
}

TEST_F(CalibrationStoreTest, ACountedContributionKeepsLittleOfWhatItReserved) {
  auto session = *store.Join(kAnn, "s", StatisticsConfig(), 0);
  auto begun = session->Begin("w", "a", DataType::kBFloat16, {4}, clock.Now());
  ASSERT_FALSE(begun.ok()) << "a limit of 1 MiB is less than counters of 65,536 patterns take";
  limits.session_bytes_max = limits.bytes_max = 64 << 20;
  CalibrationStore larger(limits, clock);
  auto roomy = *larger.Join(kAnn, "s", StatisticsConfig(), 0);
  begun = roomy->Begin("w", "a", DataType::kBFloat16, {4}, clock.Now());
  ASSERT_TRUE(begun.ok()) << begun.status();
  const uint64_t under_way = larger.bytes_reserved();
  ASSERT_TRUE(roomy->Count("w", "a", **std::move(begun), clock.Now())->counted);
  EXPECT_LT(larger.bytes_reserved(), under_way / 4);
  EXPECT_GT(larger.bytes_reserved(), 0u);
}

TEST_F(CalibrationStoreTest, IdsAreWrittenInAFewCharacters) {
  EXPECT_EQ(ReasonOf(store.Join(kAnn, "", kRange, 0).status()), reason::kInvalidCalibration);
  EXPECT_EQ(ReasonOf(store.Join(kAnn, "a b", kRange, 0).status()), reason::kInvalidCalibration);
  EXPECT_EQ(ReasonOf(store.Join(kAnn, std::string(129, 'a'), kRange, 0).status()), reason::kInvalidCalibration);
  EXPECT_TRUE(store.Join(kAnn, "run-1/rank:2._" + std::string(114, 'a'), kRange, 0).ok());
}

}  // namespace
}  // namespace quantd::server
