// The ways to compute CRC32C, so that a test can compare them. Everyone else includes crc32c.h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace quantd {

// Both take and return a CRC as crc32c.h means it; `copy` also copies source to target.
struct Crc32cPath {
  uint32_t (*extend)(uint32_t crc, const std::byte* source, size_t bytes);
  uint32_t (*copy)(uint32_t crc, std::byte* target, const std::byte* source, size_t bytes);
};

// Runs everywhere.
const Crc32cPath& SoftwareCrc32c();
// With the processor's CRC32 instruction; null where this machine has none.
const Crc32cPath* HardwareCrc32c();
// By carry-less multiplication of 64 bytes at once (AVX-512); null where this machine has none.
const Crc32cPath* WideCrc32c();

}  // namespace quantd
