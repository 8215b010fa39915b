// The element types of safetensors.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "kernels/base/checked_math.h"

namespace quantd::server {

// One type. `bits` may be less than 8: such a tensor must fill whole bytes.
struct SafetensorsDtype {
  std::string_view name;
  uint32_t bits;
  // Place in the order of the safetensors library (0.8.0), which lays tensors out by falling rank: wider ones first.
  uint32_t rank;

  bool operator==(const SafetensorsDtype& other) const { return rank == other.rank; }
};

inline constexpr SafetensorsDtype kSafetensorsDtypes[] = {
    {"BOOL", 8, 0},         {"F4", 4, 1},      {"F6_E2M3", 6, 2}, {"F6_E3M2", 6, 3}, {"U8", 8, 4},
    {"I8", 8, 5},           {"F8_E5M2", 8, 6}, {"F8_E4M3", 8, 7}, {"F8_E8M0", 8, 8}, {"F8_E4M3FNUZ", 8, 9},
    {"F8_E5M2FNUZ", 8, 10}, {"I16", 16, 11},   {"U16", 16, 12},   {"F16", 16, 13},   {"BF16", 16, 14},
    {"I32", 32, 15},        {"U32", 32, 16},   {"F32", 32, 17},   {"C64", 64, 18},   {"F64", 64, 19},
    {"I64", 64, 20},        {"U64", 64, 21},
};

constexpr std::optional<SafetensorsDtype> SafetensorsDtypeNamed(std::string_view name) {
  for (const SafetensorsDtype& dtype : kSafetensorsDtypes) {
    if (dtype.name == name) return dtype;
  }
  return std::nullopt;
}

// Bytes of `elements` elements; nothing if they do not fit in 64 bits or do not fill whole bytes.
constexpr std::optional<uint64_t> BytesOf(const SafetensorsDtype& dtype, uint64_t elements) {
  const std::optional<uint64_t> bits = CheckedMul(elements, dtype.bits);
  if (!bits.has_value() || *bits % 8 != 0) return std::nullopt;
  return *bits / 8;
}

}  // namespace quantd::server
