// Arithmetic on sizes that strangers send.
#pragma once

#include <cstdint>
#include <optional>

namespace quantd {

// ceil(dividend / divisor); divisor > 0. Cannot overflow.
constexpr uint64_t CeilDiv(uint64_t dividend, uint64_t divisor) {
  return dividend / divisor + (dividend % divisor != 0);
}

// The smallest multiple of alignment (a power of two) that is not below value; value + alignment must not overflow.
constexpr uint64_t AlignUp(uint64_t value, uint64_t alignment) { return (value + alignment - 1) & ~(alignment - 1); }

// a · b, or nothing if it does not fit.
constexpr std::optional<uint64_t> CheckedMul(uint64_t a, uint64_t b) {
  uint64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}

// a + b, or nothing if it does not fit.
constexpr std::optional<uint64_t> CheckedAdd(uint64_t a, uint64_t b) {
  uint64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
  return sum;
}

}  // namespace quantd
