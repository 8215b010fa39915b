// A code among others, wherever it begins.
#pragma once

#include <cstddef>
#include <cstdint>

namespace quantd {
namespace {

template <class Format>
__device__ uint32_t DeviceCodeAt(const std::byte* codes, uint64_t index) {
  if constexpr (Format::kBits == 16) {
    return static_cast<uint32_t>(codes[index * 2]) | static_cast<uint32_t>(codes[index * 2 + 1]) << 8;
  } else if constexpr (Format::kBits == 8) {
    return static_cast<uint32_t>(codes[index]);
  } else if constexpr (Format::kFirstInHighNibble) {
    return static_cast<uint32_t>(codes[index / 2]) >> (index % 2 == 0 ? 4 : 0) & 15u;
  } else {
    const uint64_t bit = index * Format::kBits;
    uint32_t window = static_cast<uint32_t>(codes[bit / 8]);
    // The next byte is read only if the code reaches into it: there may be none.
    if (bit % 8 + Format::kBits > 8) window |= static_cast<uint32_t>(codes[bit / 8 + 1]) << 8;
    return window >> bit % 8 & ((1u << Format::kBits) - 1);
  }
}

}  // namespace
}  // namespace quantd
