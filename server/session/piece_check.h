// What must hold for every piece of an input segment.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "server/session/frame.h"
#include "server/session/frame_cursor.h"

namespace quantd::server {

// Before its bytes are taken: begins where the segment's last piece ended and stays inside the job's part of it;
// carries a checksum if it must. INVALID_ARGUMENT with reason UNEXPECTED_OFFSET, SEGMENT_TOO_LONG or MISSING_CHECKSUM.
absl::Status CheckPiece(const InputPiece& piece, uint64_t expected_offset, uint64_t end_bytes, ChecksumKind checksums);

// Whether its checksum, which it has, counts.
bool IsChecked(const InputPiece& piece, ChecksumKind checksums);

// DATA_LOSS with reason CHECKSUM_MISMATCH if that is not the CRC32C that the piece, which has one, should have.
absl::Status CheckCrc32c(const InputPiece& piece, uint32_t crc32c);

// After all of its bytes have been copied: the errors of CheckCrc32c, where it counts; goes to the next piece.
absl::Status FinishPiece(FrameCursor& cursor, ChecksumKind checksums);

}  // namespace quantd::server
