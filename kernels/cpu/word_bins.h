// Ranks from 16 bits of a value: scaled and rounded down to an integer, it lies in one of 32 cells of 2048, each with
// at most one threshold. Only an integer that a threshold has too leaves open on which side of it the value is.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace quantd {

inline constexpr int kWordCellBits = 11;
inline constexpr int kWordCell = 1 << kWordCellBits;

// By bits 11 to 15 of an integer: what is added to it, modulo 2^16, so that bits 11 to 15 of the sum are the rank. The
// bits below are 0 in two cases only: the integer is a threshold's, or the first of a cell without one. -32768, which
// NaN and whatever is too large become, is of the second kind.
struct WordBins {
  float scale = 0;  // of values
  alignas(64) std::array<uint16_t, 32> entry{};
};

// The rank is the number of thresholds that a value is above. With `kSigned` the thresholds' negatives count too, and
// 0, which integers from 0 on are above.
template <bool kSigned, size_t kCount>
consteval WordBins MakeWordBins(double scale, const float (&thresholds)[kCount]) {
  constexpr size_t kAll = kSigned ? 2 * kCount : kCount;
  int integers[kAll] = {};
  for (size_t k = 0; k < kAll; ++k) {
    const bool negative = kSigned && k < kCount;
    const double threshold = kSigned ? thresholds[negative ? kCount - 1 - k : k - kCount] : thresholds[k];
    const double scaled = scale * (negative ? -threshold : threshold);
    integers[k] = static_cast<int>(scaled + 32768) - 32768;
    // A value near a threshold may be scaled with an error of three roundings, which is less than 0.01.
    const double fraction = scaled - integers[k];
    if (fraction < 0.05 || fraction > 0.95) throw "a threshold is too near to an integer";
    if (k > 0 && integers[k] / kWordCell == integers[k - 1] / kWordCell && (integers[k] < 0) == (integers[k - 1] < 0)) {
      throw "a cell has two thresholds";
    }
  }
  WordBins bins;
  bins.scale = static_cast<float>(scale);
  for (int cell = -16; cell < 16; ++cell) {
    const int first = cell * kWordCell;
    int rank = kSigned && cell >= 0 ? 1 : 0;
    int base = first;  // the integer that becomes the first of its rank
    for (const int integer : integers) {
      if (integer >= first + kWordCell) break;
      ++rank;
      if (integer >= first) base = integer;
    }
    bins.entry[static_cast<size_t>(cell) & 31] = static_cast<uint16_t>(rank * kWordCell - base);
  }
  return bins;
}

}  // namespace quantd
