// CRC32C (Castagnoli, RFC 3720 appendix B.4), with the processor's instruction where it has one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace quantd {

// CRC of what `crc` covers followed by `bytes`. Start with 0.
uint32_t ExtendCrc32c(uint32_t crc, std::span<const std::byte> bytes);

// Copies `source` to `target` (at least as long, not overlapping) and returns ExtendCrc32c(crc, source), in one pass
// over memory.
uint32_t CopyWithCrc32c(std::byte* target, std::span<const std::byte> source, uint32_t crc);

// CRC of A followed by B, from the CRC of A, the CRC of B and B's length.
uint32_t CombineCrc32c(uint32_t crc_a, uint32_t crc_b, uint64_t bytes_b);

}  // namespace quantd
