// Input that still lies where the transport put it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "server/session/frame.h"

namespace quantd::server {

// Bytes of one input on their way to where they are computed. Whoever computes them copies them: the transport's
// threads are free for the next frame, and what was copied is in the right processor's cache.
struct PendingInput {
  size_t input = 0;             // of the pass
  std::byte* target = nullptr;  // their place in the slot; those of one input follow one another
  uint64_t bytes = 0;
  // The bytes, and after them, if the piece is checked, the rest of it.
  std::vector<std::span<const std::byte>> source;
  std::shared_ptr<const void> owner;  // of the source
  std::optional<InputPiece> checked;  // whose CRC32C is that of the whole source
};

// Leaves the first bytes in `pending`, and the check with them, for it is the piece's; returns the others.
PendingInput SplitOff(PendingInput& pending, uint64_t bytes);

// Reads what is pending of one input, in order. All of a piece is looked at, wherever the rest of it goes.
class PendingReader {
 public:
  // `all` must outlive this object.
  PendingReader(std::span<const PendingInput> all, size_t input);

  uint64_t bytes_left() const { return bytes_left_; }
  // The next bytes; at most bytes_left().
  void CopyTo(std::byte* target, uint64_t bytes);
  // CRC32C of what has been copied, after the last byte.
  uint32_t crc32c() const { return crc32c_; }
  // DATA_LOSS with reason CHECKSUM_MISMATCH for the first piece that does not fit, after the last byte: what came of it
  // has to be thrown away.
  const absl::Status& status() const { return status_; }

 private:
  void FinishEntry();

  std::vector<const PendingInput*> entries_;
  uint64_t bytes_left_ = 0;
  // Of the first entry.
  uint64_t taken_bytes_ = 0;
  size_t part_index_ = 0;
  size_t part_offset_ = 0;
  uint32_t entry_crc32c_ = 0;

  uint32_t crc32c_ = 0;  // of the entries before
  size_t entry_index_ = 0;
  absl::Status status_;
};

// Copies what is pending of the input to its place, and extends the CRC32C of what lies before it there; one that is
// not known stays so. The errors of PendingReader.
absl::Status Gather(std::span<const PendingInput> pending, size_t input, std::optional<uint32_t>& crc32c);

}  // namespace quantd::server
