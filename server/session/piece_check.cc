#include "server/session/piece_check.h"

#include <string>

#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"

namespace quantd::server {

absl::Status CheckPiece(const InputPiece& piece, uint64_t expected_offset, uint64_t end_bytes, ChecksumKind checksums) {
  if (piece.offset != expected_offset) {
    return InvalidArgument(
        reason::kUnexpectedOffset,
        "a piece of \"" + piece.segment + "\" begins at byte " + std::to_string(piece.offset) +
            "; the next one begins at " + std::to_string(expected_offset) +
            ". Send each segment's pieces in order and without gaps.",
        {{"expected_offset", std::to_string(expected_offset)}, {"offset", std::to_string(piece.offset)}});
  }
  if (piece.length > end_bytes - piece.offset) {
    return InvalidArgument(reason::kSegmentTooLong,
                           "\"" + piece.segment + "\" ends at byte " + std::to_string(end_bytes) +
                               ", but a piece goes on to byte " + std::to_string(piece.offset + piece.length) +
                               ". Check dtype, shape and range in the header.",
                           {{"segment_end", std::to_string(end_bytes)}});
  }
  if (checksums == ChecksumKind::kCrc32c && !piece.crc32c.has_value()) {
    return InvalidArgument(reason::kMissingChecksum, "the header asks for CRC32C, but a piece of \"" + piece.segment +
                                                         "\" has no crc32c. Send it, or leave checksum_kind out.");
  }
  return absl::OkStatus();
}

bool IsChecked(const InputPiece& piece, ChecksumKind checksums) {
  return checksums != ChecksumKind::kNone && piece.crc32c.has_value();
}

absl::Status CheckCrc32c(const InputPiece& piece, uint32_t crc32c) {
  if (*piece.crc32c == crc32c) return absl::OkStatus();
  return MakeError(
      absl::StatusCode::kDataLoss, reason::kChecksumMismatch,
      "bytes " + std::to_string(piece.offset) + " to " + std::to_string(piece.offset + piece.length) + " of \"" +
          piece.segment +
          "\" do not fit their CRC32C. Send the tensor again; if it happens again, look at the machine "
          "and the network between.",
      {{"segment", piece.segment}, {"offset", std::to_string(piece.offset)}, {"length", std::to_string(piece.length)}});
}

absl::Status FinishPiece(FrameCursor& cursor, ChecksumKind checksums) {
  const InputPiece& piece = *cursor.piece();
  if (IsChecked(piece, checksums)) {
    if (absl::Status status = CheckCrc32c(piece, cursor.crc32c()); !status.ok()) return status;
  }
  cursor.NextPiece();
  return absl::OkStatus();
}

}  // namespace quantd::server
