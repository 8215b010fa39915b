#include "server/session/frame_cursor.h"

#include <algorithm>

#include "kernels/base/crc32c.h"

namespace quantd::server {

void FrameCursor::CopyTo(std::byte* target, uint64_t bytes) {
  piece_bytes_taken_ += static_cast<uint32_t>(bytes);
  while (bytes > 0) {
    const auto part = frame_.data[part_index_].subspan(part_offset_);
    const auto source = part.first(std::min<uint64_t>(bytes, part.size()));
    crc32c_ = CopyWithCrc32c(target, source, crc32c_);
    target += source.size();
    bytes -= source.size();
    part_offset_ += source.size();
    if (source.size() == part.size()) {
      ++part_index_;
      part_offset_ = 0;
    }
  }
}

void FrameCursor::NextPiece() {
  ++piece_index_;
  piece_bytes_taken_ = 0;
  crc32c_ = 0;
}

}  // namespace quantd::server
