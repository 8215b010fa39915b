#include "server/session/frame_cursor.h"

#include <gtest/gtest.h>

#include <vector>

#include "kernels/base/crc32c.h"
#include "tests/support/session_harness.h"

namespace quantd::server {
namespace {

using testing::Bytes;

Bytes Counting(size_t size, uint8_t first) {
  Bytes bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(first + i);
  return bytes;
}

// Pieces "a" of 10 bytes and "b" of 7, which lie in data parts that begin and end elsewhere.
class FrameCursorTest : public ::testing::Test {
 protected:
  static RequestFrame SplitFrame() {
    RequestFrame frame = testing::MakeFrame(1, {{"a", 0, Counting(10, 1)}, {"b", 5, Counting(7, 50)}}, true);
    const std::span<const std::byte> all = frame.data.front();
    frame.data = {all.first(3), all.subspan(3, 0), all.subspan(3, 9), all.subspan(12, 1), all.subspan(13), {}};
    return frame;
  }
  FrameCursor cursor_{SplitFrame()};
};

TEST_F(FrameCursorTest, PiecesComeInOrder) {
  ASSERT_NE(cursor_.piece(), nullptr);
  EXPECT_EQ(cursor_.piece()->segment, "a");
  Bytes a(10);
  cursor_.CopyTo(a.data(), 10);
  EXPECT_EQ(cursor_.piece_bytes_left(), 0u);
  cursor_.NextPiece();
  EXPECT_EQ(cursor_.piece()->segment, "b");
  EXPECT_EQ(cursor_.piece()->offset, 5u);
  Bytes b(7);
  cursor_.CopyTo(b.data(), 7);
  cursor_.NextPiece();
  EXPECT_EQ(cursor_.piece(), nullptr);
  EXPECT_EQ(a, Counting(10, 1));
  EXPECT_EQ(b, Counting(7, 50));
}

TEST_F(FrameCursorTest, APieceCanBeTakenByTheByteAndItsChecksumIsTheWholePieces) {
  Bytes a(10);
  for (size_t i = 0; i < 10; ++i) {
    EXPECT_EQ(cursor_.piece_bytes_taken(), i);
    EXPECT_EQ(cursor_.piece_bytes_left(), 10 - i);
    EXPECT_EQ(cursor_.crc32c(), ExtendCrc32c(0, std::span(a).first(i)));
    cursor_.CopyTo(a.data() + i, 1);
  }
  EXPECT_EQ(a, Counting(10, 1));
  EXPECT_EQ(cursor_.crc32c(), *cursor_.piece()->crc32c);
  cursor_.NextPiece();
  EXPECT_EQ(cursor_.crc32c(), 0u) << "each piece has a checksum of its own";
}

TEST_F(FrameCursorTest, WhatIsDeferredIsTakenAndReadLater) {
  Bytes slot(17);
  std::vector<PendingInput> pending{cursor_.Defer(0, slot.data(), 4, true), cursor_.Defer(0, slot.data() + 4, 6, true)};
  EXPECT_EQ(cursor_.piece_bytes_left(), 0u);
  cursor_.NextPiece();
  pending.push_back(cursor_.Defer(0, slot.data() + 10, 7, false));
  cursor_.NextPiece();
  EXPECT_EQ(cursor_.piece(), nullptr);
  EXPECT_EQ(pending[0].checked->segment, "a");
  EXPECT_FALSE(pending[1].checked.has_value()) << "checked with the piece's first byte";
  EXPECT_FALSE(pending[2].checked.has_value()) << "nobody wants it";
  std::optional<uint32_t> crc;
  EXPECT_TRUE(Gather(pending, 0, crc).ok());
  Bytes expected = Counting(10, 1);
  const Bytes b = Counting(7, 50);
  expected.insert(expected.end(), b.begin(), b.end());
  EXPECT_EQ(slot, expected);
}

TEST_F(FrameCursorTest, WhatIsDeferredKeepsTheFramesMemory) {
  RequestFrame frame = testing::MakeFrame(1, {{"a", 0, Counting(4, 1)}}, true);
  const std::weak_ptr<const void> memory = frame.owner;
  std::optional<PendingInput> pending;
  {
    FrameCursor cursor(std::move(frame));
    pending = cursor.Defer(0, nullptr, 4, false);
  }
  EXPECT_FALSE(memory.expired());
  pending.reset();
  EXPECT_TRUE(memory.expired());
}

TEST(FrameCursor, AFrameWithoutPiecesIsOver) {
  const FrameCursor cursor(testing::MakeFrame(1, {}, false));
  EXPECT_EQ(cursor.piece(), nullptr);
}

TEST(FrameCursor, AnEmptyPieceHasNothingToCopy) {
  FrameCursor cursor(testing::MakeFrame(1, {{"a", 0, {}}, {"b", 0, Counting(2, 9)}}, false));
  EXPECT_EQ(cursor.piece_bytes_left(), 0u);
  EXPECT_EQ(cursor.crc32c(), *cursor.piece()->crc32c);
  cursor.NextPiece();
  Bytes b(2);
  cursor.CopyTo(b.data(), 2);
  EXPECT_EQ(b, Counting(2, 9));
}

TEST(FrameCursor, KeepsTheFramesMemory) {
  RequestFrame frame = testing::MakeFrame(1, {{"a", 0, Counting(4, 1)}}, true);
  const std::weak_ptr<const void> owner = frame.owner;
  std::optional<FrameCursor> cursor(std::move(frame));
  EXPECT_FALSE(owner.expired());
  cursor.reset();
  EXPECT_TRUE(owner.expired());
}

}  // namespace
}  // namespace quantd::server
