#include "server/session/frame_cursor.h"

#include <algorithm>

#include "kernels/base/crc32c.h"

namespace quantd::server {

template <typename Use>
void FrameCursor::Walk(uint64_t bytes, const Use& use) {
  while (bytes > 0) {
    const auto part = frame_.data[part_index_].subspan(part_offset_);
    const auto taken = part.first(std::min<uint64_t>(bytes, part.size()));
    use(taken);
    bytes -= taken.size();
    part_offset_ += taken.size();
    if (taken.size() == part.size()) {
      ++part_index_;
      part_offset_ = 0;
    }
  }
}

void FrameCursor::CopyTo(std::byte* target, uint64_t bytes) {
  piece_bytes_taken_ += static_cast<uint32_t>(bytes);
  Walk(bytes, [&](std::span<const std::byte> part) {
    crc32c_ = CopyWithCrc32c(target, part, crc32c_);
    target += part.size();
  });
}

PendingInput FrameCursor::Defer(size_t input, std::byte* target, uint64_t bytes, bool checked) {
  PendingInput pending{input, target, bytes, {}, frame_.owner, std::nullopt};
  const auto keep = [&pending](std::span<const std::byte> part) {
    if (!part.empty()) pending.source.push_back(part);
  };
  const bool with_check = checked && piece_bytes_taken_ == 0;
  if (with_check) pending.checked = *piece();
  piece_bytes_taken_ += static_cast<uint32_t>(bytes);
  Walk(bytes, keep);
  if (with_check) {
    const auto [index, offset] = std::pair(part_index_, part_offset_);
    Walk(piece_bytes_left(), keep);
    part_index_ = index;
    part_offset_ = offset;
  }
  return pending;
}

void FrameCursor::NextPiece() {
  ++piece_index_;
  piece_bytes_taken_ = 0;
  crc32c_ = 0;
}

}  // namespace quantd::server
