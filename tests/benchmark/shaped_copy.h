// What a kernel touches, without its arithmetic: the same reads and writes of values, codes and scales.
#pragma once

#include <cstddef>
#include <cstdint>

namespace quantd::testing {

struct CopyShape {
  uint64_t element_count;  // a multiple of block_elements
  // Elements between two accesses of the scales, at least 64 and a multiple of it, and the bytes of their scales, at
  // most 8. The scales' memory has 8 bytes to spare.
  uint64_t block_elements;
  uint64_t block_scale_bytes;
};

using CopyFunction = void (*)(const CopyShape& shape, std::byte* values, std::byte* codes, std::byte* scales);

// For values of `value_bytes` (2 or 4) and codes of `code_bits` (4, 8 or 16); null for others. On the widest registers
// that the machine has.
CopyFunction EncodeShapedCopy(uint32_t value_bytes, uint32_t code_bits);  // reads values, writes codes and scales
CopyFunction DecodeShapedCopy(uint32_t value_bytes, uint32_t code_bits);  // reads codes and scales, writes values

}  // namespace quantd::testing
