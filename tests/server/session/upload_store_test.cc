#include "server/session/upload_store.h"

#include <gtest/gtest.h>

#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "tests/support/fake_clock.h"

namespace quantd::server {
namespace {

constexpr char kId[] = "0123456789abcdef";
const Principal kAnn{"ann", 1};
const Principal kBob{"bob", 1};

class UploadStoreTest : public ::testing::Test {
 protected:
  UploadStoreTest() {
    limits_.parked_bytes_max = 1000;
    limits_.parked_bytes_per_principal_max = 600;
    limits_.park_time_max = absl::Seconds(10);
  }

  static TensorRequest Request(const std::string& id, bool resume = false) {
    TensorRequest request;
    request.name = "w";
    request.upload = {.id = id, .resume = resume, .server_instance = "here", .epoch = 7, .received_bytes = {}};
    return request;
  }
  std::shared_ptr<UploadStore::Lease> Begin(const Principal& principal, const std::string& id, uint64_t bytes) {
    return store_.Begin(principal, Request(id), budget_.Reserve(bytes, "amax").value());
  }
  // Of an upload whose stream has broken.
  void Park(const Principal& principal, const std::string& id, uint64_t bytes, uint64_t counted_units = 1) {
    Begin(principal, id, bytes)->Keep({.counted_units = counted_units, .found = {}, .scale_mean = {}});
    clock_.Advance(absl::Seconds(1));
  }
  std::string ReasonOfResume(const Principal& principal, const TensorRequest& request) {
    const auto lease = store_.Resume(principal, request);
    return lease.ok() ? "" : DetailsOf(lease.status()).reason;
  }
  std::string ReasonOfResume(const Principal& principal, const std::string& id) {
    return ReasonOfResume(principal, Request(id, true));
  }
  bool IsParked(const Principal& principal, const std::string& id) { return ReasonOfResume(principal, id).empty(); }

  Limits limits_;
  testing::FakeClock clock_;
  SpoolBudget budget_{{.directory = ::testing::TempDir(), .bytes_max = 2000, .bytes_per_stream_max = 2000}};
  UploadStore store_{limits_, clock_, "here", 7};
};

TEST_F(UploadStoreTest, GivesBackTheSpoolAndHowFarItWas) {
  auto lease = Begin(kAnn, kId, 4);
  const std::byte written[] = {std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};
  ASSERT_TRUE(lease->spool().WriteAt(0, written).ok());
  lease->Keep({.counted_units = 17, .found = {}, .scale_mean = {}});
  lease = nullptr;
  EXPECT_EQ(store_.parked_bytes(), 4u);
  const auto resumed = store_.Resume(kAnn, Request(kId, true));
  ASSERT_TRUE(resumed.ok()) << resumed.status();
  EXPECT_EQ((*resumed)->progress().counted_units, 17u);
  std::byte read[4];
  ASSERT_TRUE((*resumed)->spool().ReadAt(0, read).ok());
  EXPECT_TRUE(std::equal(std::begin(read), std::end(read), std::begin(written)));
  EXPECT_EQ(store_.parked_bytes(), 0u);
}

TEST_F(UploadStoreTest, WhatNobodyKeepsIsForgotten) {
  Begin(kAnn, kId, 100);
  EXPECT_EQ(budget_.bytes_reserved(), 0u);
  EXPECT_EQ(ReasonOfResume(kAnn, kId), reason::kUploadUnknown);
}

TEST_F(UploadStoreTest, WhatWasResumedAndThenRefusedIsParkedAgain) {
  Park(kAnn, kId, 100, 17);
  ASSERT_TRUE(store_.Resume(kAnn, Request(kId, true)).ok());
  EXPECT_EQ(store_.parked_bytes(), 100u);
  EXPECT_EQ((*store_.Resume(kAnn, Request(kId, true)))->progress().counted_units, 17u);
}

TEST_F(UploadStoreTest, WhatIsForgottenAfterItWasResumedIsGone) {
  Park(kAnn, kId, 100);
  (*store_.Resume(kAnn, Request(kId, true)))->Forget();
  EXPECT_EQ(ReasonOfResume(kAnn, kId), reason::kUploadUnknown);
}

TEST_F(UploadStoreTest, ForgetsWhatIsParkedAndNotWhatAStreamHas) {
  Park(kAnn, kId, 100);
  store_.Forget(kBob, kId);
  EXPECT_TRUE(IsParked(kAnn, kId));
  const auto resumed = store_.Resume(kAnn, Request(kId, true));
  store_.Forget(kAnn, kId);
  EXPECT_EQ(ReasonOfResume(kAnn, kId), reason::kUploadBusy);
  Park(kAnn, "ann-0000000000002", 100);
  store_.Forget(kAnn, "ann-0000000000002");
  EXPECT_EQ(ReasonOfResume(kAnn, "ann-0000000000002"), reason::kUploadUnknown);
}

TEST_F(UploadStoreTest, BelongsToItsPrincipal) {
  Park(kAnn, kId, 100);
  EXPECT_EQ(ReasonOfResume(kBob, kId), reason::kUploadUnknown);
  EXPECT_TRUE(IsParked(kAnn, kId));
}

TEST_F(UploadStoreTest, TakesTheSameHeaderOnly) {
  Park(kAnn, kId, 100);
  TensorRequest other = Request(kId, true);
  other.shape = {1};
  EXPECT_EQ(ReasonOfResume(kAnn, other), reason::kUploadMismatch);
  TensorRequest has_something = Request(kId, true);
  has_something.upload->received_bytes["codes"] = 5;
  EXPECT_EQ(ReasonOfResume(kAnn, has_something), "");
}

TEST_F(UploadStoreTest, OfAnotherProcessIsElsewhere) {
  Park(kAnn, kId, 100);
  TensorRequest foreign = Request(kId, true);
  foreign.upload->server_instance = "there";
  EXPECT_EQ(store_.Resume(kAnn, foreign).status().code(), absl::StatusCode::kAborted);
  EXPECT_EQ(ReasonOfResume(kAnn, foreign), reason::kUploadElsewhere);
  TensorRequest before_the_restart = Request(kId, true);
  before_the_restart.upload->epoch = 6;
  EXPECT_EQ(ReasonOfResume(kAnn, before_the_restart), reason::kUploadElsewhere);
}

TEST_F(UploadStoreTest, WhoComesWhileTheLastStreamLivesSupersedesItAndWaits) {
  const auto lease = Begin(kAnn, kId, 100);
  EXPECT_FALSE(lease->superseded());
  const absl::Status busy = store_.Resume(kAnn, Request(kId, true)).status();
  EXPECT_EQ(busy.code(), absl::StatusCode::kUnavailable) << busy;
  EXPECT_EQ(DetailsOf(busy).reason, reason::kUploadBusy);
  EXPECT_TRUE(lease->superseded());
}

TEST_F(UploadStoreTest, WhoBeginsAnewSupersedesAndForgets) {
  const auto first = Begin(kAnn, kId, 100);
  const auto second = Begin(kAnn, kId, 200);
  EXPECT_TRUE(first->superseded());
  EXPECT_FALSE(second->superseded());
  first->Keep({});
  Park(kAnn, kId, 300);
  EXPECT_EQ(store_.parked_bytes(), 300u);
}

TEST_F(UploadStoreTest, ALeaseThatWasBegunAnewLeavesNothing) {
  auto first = Begin(kAnn, kId, 100);
  first->Keep({.counted_units = 9, .found = {}, .scale_mean = {}});
  Park(kAnn, kId, 200, 3);
  first = nullptr;
  EXPECT_EQ(store_.parked_bytes(), 200u);
  EXPECT_EQ((*store_.Resume(kAnn, Request(kId, true)))->progress().counted_units, 3u);
}

TEST_F(UploadStoreTest, ExpiresAfterItsTime) {
  Park(kAnn, kId, 100);  // and a second
  clock_.Advance(limits_.park_time_max - absl::Seconds(1));
  store_.DropExpired();
  EXPECT_EQ(store_.parked_bytes(), 100u);
  clock_.Advance(absl::Milliseconds(1));
  store_.DropExpired();
  EXPECT_EQ(store_.parked_bytes(), 0u);
  EXPECT_EQ(budget_.bytes_reserved(), 0u);
  EXPECT_EQ(ReasonOfResume(kAnn, kId), reason::kUploadUnknown);
}

TEST_F(UploadStoreTest, ExpiresForWhoComesTooLateEvenIfNobodyLooked) {
  Park(kAnn, kId, 100);
  clock_.Advance(limits_.park_time_max);
  EXPECT_EQ(ReasonOfResume(kAnn, kId), reason::kUploadUnknown);
}

TEST_F(UploadStoreTest, APrincipalsOldestMakesRoomForItsNewest) {
  Park(kAnn, "ann-0000000000001", 300);
  Park(kAnn, "ann-0000000000002", 300);
  Park(kAnn, "ann-0000000000003", 100);
  EXPECT_FALSE(IsParked(kAnn, "ann-0000000000001"));
  EXPECT_TRUE(IsParked(kAnn, "ann-0000000000002"));
  EXPECT_TRUE(IsParked(kAnn, "ann-0000000000003"));
}

TEST_F(UploadStoreTest, BeyondTheServersBytesWhoHasMostMakesRoom) {
  Park(kBob, "bob-0000000000001", 200);
  Park(kAnn, "ann-0000000000001", 300);
  Park(kAnn, "ann-0000000000002", 300);
  Park(kBob, "bob-0000000000002", 300);
  EXPECT_FALSE(IsParked(kAnn, "ann-0000000000001"));
  EXPECT_TRUE(IsParked(kAnn, "ann-0000000000002"));
  EXPECT_TRUE(IsParked(kBob, "bob-0000000000001"));
  EXPECT_TRUE(IsParked(kBob, "bob-0000000000002"));
}

TEST_F(UploadStoreTest, WhatIsLargerThanTheLimitIsNotParkedAndPushesNobodyOut) {
  Park(kAnn, "ann-0000000000001", 300);
  Park(kAnn, "ann-0000000000002", 601);
  EXPECT_TRUE(IsParked(kAnn, "ann-0000000000001"));
  EXPECT_FALSE(IsParked(kAnn, "ann-0000000000002"));
}

TEST_F(UploadStoreTest, ParksALimitedNumber) {
  for (size_t i = 0; i <= kParkedUploadsMax; ++i) Park(kAnn, "ann-000000000000-" + std::to_string(i), 1);
  EXPECT_EQ(store_.parked_bytes(), kParkedUploadsMax);
}

TEST_F(UploadStoreTest, ParkedSpoolsMakeRoomForThoseThatAreNeeded) {
  Park(kAnn, "ann-0000000000001", 300);
  Park(kAnn, "ann-0000000000002", 300);
  const auto make_room = [this] { return store_.DropOne(); };
  EXPECT_FALSE(budget_.Reserve(1500, "amax").ok());
  EXPECT_TRUE(budget_.Reserve(1500, "amax", make_room).ok());
  EXPECT_FALSE(IsParked(kAnn, "ann-0000000000001"));
  EXPECT_TRUE(IsParked(kAnn, "ann-0000000000002"));
  EXPECT_FALSE(budget_.Reserve(2001, "amax", make_room).ok());
  EXPECT_TRUE(IsParked(kAnn, "ann-0000000000002"));
}

TEST(UploadId, HasToBeLongEnoughAndPlain) {
  EXPECT_TRUE(UploadStore::CheckId(kId).ok());
  EXPECT_TRUE(UploadStore::CheckId(std::string(64, '.')).ok());
  for (const std::string& id : {std::string(), std::string(15, 'a'), std::string(65, 'a'), std::string(20, '/')}) {
    EXPECT_EQ(DetailsOf(UploadStore::CheckId(id)).reason, reason::kInvalidUpload) << id;
  }
}

}  // namespace
}  // namespace quantd::server
