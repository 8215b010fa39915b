#include "server/session/pending_input.h"

#include <algorithm>
#include <utility>

#include "kernels/base/crc32c.h"
#include "server/session/piece_check.h"

namespace quantd::server {

PendingInput SplitOff(PendingInput& pending, uint64_t bytes) {
  PendingInput others{pending.input, pending.target + bytes, pending.bytes - bytes, {}, pending.owner, std::nullopt};
  uint64_t before = bytes;  // the others' first byte
  uint64_t left = others.bytes;
  for (const auto& part : pending.source) {
    const auto after = part.subspan(std::min<uint64_t>(before, part.size()));
    before -= part.size() - after.size();
    const auto wanted = after.first(std::min<uint64_t>(left, after.size()));
    left -= wanted.size();
    if (!wanted.empty()) others.source.push_back(wanted);
  }
  pending.bytes = bytes;
  return others;
}

PendingReader::PendingReader(std::span<const PendingInput> all, size_t input) {
  for (const PendingInput& pending : all) {
    if (pending.input != input) continue;
    entries_.push_back(&pending);
    bytes_left_ += pending.bytes;
  }
}

void PendingReader::CopyTo(std::byte* target, uint64_t bytes) {
  bytes_left_ -= bytes;
  while (bytes > 0) {
    const PendingInput& entry = *entries_[entry_index_];
    const auto part = entry.source[part_index_].subspan(part_offset_);
    const auto taken = part.first(std::min({bytes, entry.bytes - taken_bytes_, uint64_t{part.size()}}));
    entry_crc32c_ = CopyWithCrc32c(target, taken, entry_crc32c_);
    target += taken.size();
    bytes -= taken.size();
    taken_bytes_ += taken.size();
    part_offset_ += taken.size();
    if (taken_bytes_ == entry.bytes) {
      FinishEntry();
    } else if (taken.size() == part.size()) {
      ++part_index_;
      part_offset_ = 0;
    }
  }
}

void PendingReader::FinishEntry() {
  const PendingInput& entry = *entries_[entry_index_];
  crc32c_ = CombineCrc32c(crc32c_, entry_crc32c_, entry.bytes);
  if (entry.checked.has_value()) {
    uint32_t piece_crc32c = entry_crc32c_;
    for (; part_index_ < entry.source.size(); ++part_index_, part_offset_ = 0) {
      piece_crc32c = ExtendCrc32c(piece_crc32c, entry.source[part_index_].subspan(part_offset_));
    }
    if (status_.ok()) status_ = CheckCrc32c(*entry.checked, piece_crc32c);
  }
  ++entry_index_;
  taken_bytes_ = part_index_ = part_offset_ = entry_crc32c_ = 0;
}

absl::Status Gather(std::span<const PendingInput> pending, size_t input, std::optional<uint32_t>& crc32c) {
  const auto first =
      std::find_if(pending.begin(), pending.end(), [input](const PendingInput& one) { return one.input == input; });
  if (first == pending.end()) return absl::OkStatus();
  PendingReader reader(pending, input);
  const uint64_t bytes = reader.bytes_left();
  reader.CopyTo(first->target, bytes);
  if (crc32c.has_value()) crc32c = CombineCrc32c(*crc32c, reader.crc32c(), bytes);
  return reader.status();
}

}  // namespace quantd::server
