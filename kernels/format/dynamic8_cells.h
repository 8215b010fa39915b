// The dynamic 8-bit code by table: a float's sign, exponent and upper mantissa bits are its cell, and no cell has more
// than one boundary between codes.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "kernels/format/dynamic8.h"

namespace quantd {

inline constexpr int kDynamic8CellShift = 17;  // mantissa bits within a cell
inline constexpr uint32_t kDynamic8CellMask = (1u << kDynamic8CellShift) - 1;
// Cells of one sign. The last ends below 2; all values below the first have the code of the first.
inline constexpr uint32_t kDynamic8Cells = 2048;
inline constexpr uint32_t kDynamic8FirstCell = (0x40000000u >> kDynamic8CellShift) - kDynamic8Cells;
inline constexpr int kDynamic8RankShift = kDynamic8CellShift + 1;

// Codes counted away from zero: the code of a positive value, 255 less the code of a negative one.
constexpr uint32_t Dynamic8Rank(uint32_t magnitude, bool negative) {
  const uint32_t code = Dynamic8::Encode(std::bit_cast<float>(magnitude | (negative ? 0x80000000u : 0u)));
  return negative ? 255 - code : code;
}

// Rank = (entry + the bits within the cell) >> kDynamic8RankShift: a boundary in the cell makes a carry.
constexpr uint32_t Dynamic8CellEntry(uint32_t cell, bool negative) {
  const uint32_t first = cell << kDynamic8CellShift;
  const uint32_t last = first | kDynamic8CellMask;
  const uint32_t rank = Dynamic8Rank(first, negative);
  const uint32_t last_rank = Dynamic8Rank(last, negative);
  if (last_rank == rank) return rank << kDynamic8RankShift;
  if (last_rank > rank + 1) throw "two boundaries in one cell";
  uint32_t below = 0;
  uint32_t above = kDynamic8CellMask;
  while (above - below > 1) {
    const uint32_t middle = (below + above) / 2;
    (Dynamic8Rank(first + middle, negative) > rank ? above : below) = middle;
  }
  return ((rank + 1) << kDynamic8RankShift) - above;
}

// Those of positive values, then those of negative ones.
inline constexpr auto kDynamic8CellEntries = [] {
  std::array<uint32_t, size_t{2} * kDynamic8Cells> entries{};
  for (uint32_t i = 0; i < entries.size(); ++i) {
    entries[i] = Dynamic8CellEntry(kDynamic8FirstCell + i % kDynamic8Cells, i >= kDynamic8Cells);
  }
  return entries;
}();

}  // namespace quantd
