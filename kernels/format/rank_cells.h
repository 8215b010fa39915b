// Ranks of a value among thresholds, from one word for each of 32 cells of equal width: a value times a power of two is
// an integer of 32 bits, its upper bits are the cell, no cell has two thresholds, and a carry decides which side of its
// one threshold the integer is on.
#pragma once

#include <cstddef>
#include <cstdint>

namespace quantd {

// The rank in the upper four bits of what a value's integer and its cell's word are together, modulo 2^32.
inline constexpr int kRankShift = 28;

struct RankCells {
  uint32_t words[32] = {};
};

// Integers are value · 2^kScaleExponent, rounded down and saturated: signed ones, with cells of 2^27, or unsigned ones
// of magnitudes, with cells of 2^28 of which each has its word twice. A value on threshold k is above it if
// `tie_above(k)`.
template <int kScaleExponent, bool kSigned, size_t kCount, class TieAbove>
consteval RankCells MakeRankCells(const float (&thresholds)[kCount], TieAbove tie_above) {
  constexpr int64_t kCells = kSigned ? 32 : 16;
  constexpr int64_t kCell = (int64_t{1} << 32) / kCells;
  int64_t last_below[kCount] = {};  // largest integer that is not above the threshold
  for (size_t k = 0; k < kCount; ++k) {
    const double scaled = double{thresholds[k]} * static_cast<double>(uint64_t{1} << kScaleExponent);
    last_below[k] = static_cast<int64_t>(scaled);
    // Floats next to it are integers then, so that rounding down loses nothing.
    if (static_cast<double>(last_below[k]) != scaled) throw "a threshold is not an integer";
    if (tie_above(k)) --last_below[k];
  }
  RankCells cells;
  for (int64_t i = 0; i < kCells; ++i) {
    const int64_t first = (kSigned ? i - kCells / 2 : i) * kCell;
    int64_t rank = 0;
    int64_t base = first;  // the integer that becomes the first of the highest rank in the cell
    bool has_threshold = false;
    for (const int64_t last : last_below) {
      if (last >= first + kCell) break;
      ++rank;
      if (last < first) continue;
      if (has_threshold) throw "a cell has two thresholds";
      has_threshold = true;
      base = last + 1;
    }
    const auto word = static_cast<uint32_t>((rank << kRankShift) - base);
    cells.words[kSigned ? (i - kCells / 2) & 31 : i] = word;
    if (!kSigned) cells.words[i + kCells] = word;
  }
  return cells;
}

}  // namespace quantd
