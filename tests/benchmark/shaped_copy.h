// A loop with a kernel's reads and writes and no arithmetic, in the widest registers that the machine has.
#pragma once

#include <cstddef>
#include <cstdint>

namespace quantd::testing {

// What every kCopyElements values touch. Bytes of values are at least those of codes.
inline constexpr uint64_t kCopyElements = 1024;
struct CopyShape {
  uint64_t value_bytes;
  uint64_t code_bytes;
  uint64_t scale_bytes;  // rounded up to 8
};

struct CopyBuffers {
  std::byte* values;
  std::byte* codes;
  std::byte* scales;  // may be null without scales
};

// Reads all values, writes all codes and scales, `chunks` times kCopyElements.
void CopyEncode(const CopyShape& shape, uint64_t chunks, const CopyBuffers& buffers);
// Reads all codes and scales, writes all values.
void CopyDecode(const CopyShape& shape, uint64_t chunks, const CopyBuffers& buffers);

}  // namespace quantd::testing
