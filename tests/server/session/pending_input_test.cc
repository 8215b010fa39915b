#include "server/session/pending_input.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/base/crc32c.h"
#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "tests/support/session_harness.h"

namespace quantd::server {
namespace {

using testing::Bytes;
using ::testing::Contains;
using ::testing::Pair;

constexpr uint64_t kPieceBytes = 1000;

// One piece in parts that begin and end anywhere, of which the first bytes belong to one slot and the others to the
// next.
class PendingInputTest : public ::testing::Test {
 protected:
  PendingInputTest() {
    for (size_t i = 0; i < piece_.size(); ++i) piece_[i] = static_cast<std::byte>(i * 7 + i / 256);
  }

  PendingInput Pending(uint64_t bytes) {
    const std::span<const std::byte> all(piece_);
    PendingInput pending{0, slot_.data(), bytes, {}, nullptr, std::nullopt};
    for (size_t begin = 0, length = 1; begin < all.size(); begin += length, length = length * 3 % 97 + 1) {
      pending.source.push_back(all.subspan(begin, std::min(length, all.size() - begin)));
    }
    pending.checked =
        InputPiece{.segment = "values", .offset = 40, .length = kPieceBytes, .crc32c = ExtendCrc32c(0, piece_)};
    return pending;
  }
  Bytes Part(uint64_t begin, uint64_t end) const { return {piece_.begin() + begin, piece_.begin() + end}; }

  Bytes piece_ = Bytes(kPieceBytes);
  Bytes slot_ = Bytes(kPieceBytes);
};

TEST_F(PendingInputTest, IsCopiedToItsPlaceAndNoFurther) {
  const std::vector<PendingInput> pending{Pending(700)};
  std::optional<uint32_t> crc = ExtendCrc32c(0, Part(0, 10));
  EXPECT_TRUE(Gather(pending, 0, crc).ok());
  EXPECT_EQ(Bytes(slot_.begin(), slot_.begin() + 700), Part(0, 700));
  EXPECT_EQ(Bytes(slot_.begin() + 700, slot_.end()), Bytes(300));
  EXPECT_EQ(*crc, ExtendCrc32c(ExtendCrc32c(0, Part(0, 10)), Part(0, 700))) << "follows what was there";
}

TEST_F(PendingInputTest, WhatIsBeforeItStaysUnknown) {
  std::optional<uint32_t> crc;
  EXPECT_TRUE(Gather(std::vector{Pending(700)}, 0, crc).ok());
  EXPECT_FALSE(crc.has_value());
}

TEST_F(PendingInputTest, ADamagedPieceIsFoundByWhoeverHasItsFirstByte) {
  for (const size_t damaged : {size_t{0}, size_t{699}, size_t{700}, kPieceBytes - 1}) {
    const std::vector<PendingInput> pending{Pending(700)};
    piece_[damaged] ^= std::byte{1};
    std::optional<uint32_t> crc;
    const absl::Status status = Gather(pending, 0, crc);
    piece_[damaged] ^= std::byte{1};
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
    EXPECT_EQ(DetailsOf(status).reason, reason::kChecksumMismatch);
    EXPECT_THAT(DetailsOf(status).metadata, Contains(Pair("offset", "40"))) << "the piece's, not the byte's";
  }
}

TEST_F(PendingInputTest, IsReadByTheByteOrAtOnce) {
  const std::vector<PendingInput> pending{Pending(700)};
  for (const uint64_t step : {1, 3, 64, 699, 700}) {
    PendingReader reader(pending, 0);
    Bytes copied(700);
    for (uint64_t done = 0; done < 700;) {
      EXPECT_EQ(reader.bytes_left(), 700 - done);
      const uint64_t bytes = std::min(step, 700 - done);
      reader.CopyTo(copied.data() + done, bytes);
      done += bytes;
    }
    EXPECT_TRUE(reader.status().ok());
    EXPECT_EQ(copied, Part(0, 700));
    EXPECT_EQ(reader.crc32c(), ExtendCrc32c(0, copied));
  }
}

TEST_F(PendingInputTest, OthersInputsArePassedOver) {
  std::vector<PendingInput> pending{Pending(100), Pending(200), Pending(300)};
  pending[1].input = 1;
  EXPECT_EQ(PendingReader(pending, 0).bytes_left(), 400u);
  EXPECT_EQ(PendingReader(pending, 1).bytes_left(), 200u);
  EXPECT_EQ(PendingReader(pending, 2).bytes_left(), 0u);
}

TEST_F(PendingInputTest, SplitsAnywhereAndTheFirstPartKeepsTheCheck) {
  for (uint64_t split = 1; split < 700; ++split) {
    PendingInput first = Pending(700);
    const PendingInput second = SplitOff(first, split);
    const std::vector<PendingInput> pending{first, second};
    EXPECT_TRUE(pending[0].checked.has_value());
    EXPECT_FALSE(pending[1].checked.has_value());
    slot_.assign(kPieceBytes, std::byte{0});
    std::optional<uint32_t> crc = 0;
    ASSERT_TRUE(Gather(std::span(pending).subspan(1), 0, crc).ok());
    ASSERT_EQ(Bytes(slot_.begin() + split, slot_.begin() + 700), Part(split, 700));
    ASSERT_EQ(Bytes(slot_.begin(), slot_.begin() + split), Bytes(split)) << "its own bytes only";
    crc = 0;
    ASSERT_TRUE(Gather(pending, 0, crc).ok());
    ASSERT_EQ(Bytes(slot_.begin(), slot_.begin() + 700), Part(0, 700));
    ASSERT_EQ(*crc, ExtendCrc32c(0, Part(0, 700)));
  }
}

}  // namespace
}  // namespace quantd::server
