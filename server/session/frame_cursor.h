// Walks through a request frame's data, copying and checking as it goes, or leaving that for later.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "server/session/frame.h"
#include "server/session/pending_input.h"

namespace quantd::server {

// Owns the frame; remembers how far it has been taken, so that a stream can stop in the middle and wait for memory.
class FrameCursor {
 public:
  explicit FrameCursor(RequestFrame frame) : frame_(std::move(frame)) {}

  const RequestFrame& frame() const { return frame_; }

  // The piece to take next; null after the last one.
  const InputPiece* piece() const {
    return piece_index_ < frame_.pieces.size() ? &frame_.pieces[piece_index_] : nullptr;
  }
  uint32_t piece_bytes_taken() const { return piece_bytes_taken_; }
  uint32_t piece_bytes_left() const { return piece()->length - piece_bytes_taken_; }
  // CRC32C of what has been copied of this piece.
  uint32_t crc32c() const { return crc32c_; }

  // Copies the next `bytes` of this piece to `target`; at most piece_bytes_left().
  void CopyTo(std::byte* target, uint64_t bytes);
  // The next `bytes` of this piece, not 0 and at most piece_bytes_left(), which will go to `target` in the pass's
  // `input`. The first ones of a piece are checked with all of it, if `checked`.
  PendingInput Defer(size_t input, std::byte* target, uint64_t bytes, bool checked);
  // Goes to the next piece; this one must have been taken in full.
  void NextPiece();

 private:
  // Goes on by that many bytes; `use` gets each part.
  template <typename Use>
  void Walk(uint64_t bytes, const Use& use);

  RequestFrame frame_;
  size_t piece_index_ = 0;
  uint32_t piece_bytes_taken_ = 0;
  uint32_t crc32c_ = 0;
  size_t part_index_ = 0;  // of frame_.data
  size_t part_offset_ = 0;
};

}  // namespace quantd::server
