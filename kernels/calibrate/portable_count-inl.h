// The loops as a specification. Included by every target's source, for what its registers do not fill.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "kernels/calibrate/count_kernels.h"
#include "kernels/format/value_types.h"

namespace quantd {
namespace {

template <class Values>
inline bool IsFinite(typename Values::Bits bits) {
  return (bits & Values::kMagnitudeMask) < Values::kInfinity;
}

template <class Values>
void PortableRun(const std::byte* values, uint64_t count, Extremes& extremes) {
  using Bits = typename Values::Bits;
  for (uint64_t i = 0; i < count; ++i) {
    const auto bits = LoadUnaligned<Bits>(values + i * sizeof(Bits));
    if (!IsFinite<Values>(bits)) {
      ++extremes.nonfinite;
      continue;
    }
    const int32_t signed_bits = static_cast<std::make_signed_t<Bits>>(bits);
    extremes.signed_max = static_cast<uint32_t>(std::max(static_cast<int32_t>(extremes.signed_max), signed_bits));
    extremes.unsigned_max = std::max(extremes.unsigned_max, uint32_t{bits});
    extremes.unsigned_min = std::min(extremes.unsigned_min, uint32_t{bits});
  }
}

// One run after another, for targets that gain nothing by several at once.
template <class Values, RunFunction kRun>
void RunByRun(const std::byte* values, uint64_t run_elements, uint64_t runs, Extremes* extremes) {
  const uint64_t run_bytes = run_elements * sizeof(typename Values::Bits);
  for (uint64_t run = 0; run < runs; ++run) kRun(values + run * run_bytes, run_elements, extremes[run]);
}

// The array's element becomes the larger or smaller of itself and `bits`.
template <class T, class Choose>
inline void Update(std::byte* array, uint64_t index, T bits, Choose choose) {
  std::byte* const element = array + index * sizeof(T);
  StoreUnaligned<T>(element, choose(LoadUnaligned<T>(element), bits));
}

template <class Values>
void PortableColumns(const std::byte* values, uint64_t rows, uint64_t columns, uint64_t row_elements,
                     const ColumnArrays& arrays) {
  using Bits = typename Values::Bits;
  using Signed = std::make_signed_t<Bits>;
  for (uint64_t row = 0; row < rows; ++row, values += row_elements * sizeof(Bits)) {
    for (uint64_t column = 0; column < columns; ++column) {
      const auto bits = LoadUnaligned<Bits>(values + column * sizeof(Bits));
      if (!IsFinite<Values>(bits)) {
        ++arrays.nonfinite[column];
        continue;
      }
      Update(arrays.signed_max, column, static_cast<Signed>(bits), [](Signed a, Signed b) { return a > b ? a : b; });
      Update(arrays.unsigned_max, column, bits, [](Bits a, Bits b) { return a > b ? a : b; });
      Update(arrays.unsigned_min, column, bits, [](Bits a, Bits b) { return a < b ? a : b; });
    }
  }
}

inline void AddLowMoments(const std::byte* values, uint64_t count, LowMoments& moments) {
  for (uint64_t i = 0; i < count; ++i) {
    const auto bits = LoadUnaligned<uint32_t>(values + i * sizeof(uint32_t));
    const uint32_t field = bits >> 23 & 0xffu;
    const uint64_t low = bits & 0xffffu;
    const uint64_t high = (bits >> 16 & 0x7fu) | (field != 0 ? 0x80u : 0u);
    moments.sums[bits >> 23] += low;
    const uint64_t product = low * ((high << 17) + low);
    moments.products[field] += product;
  }
}

void PortableCount32(const std::byte* values, uint64_t count, uint32_t /*highest_exponent*/, uint32_t* counts,
                     LowMoments& moments) {
  for (uint64_t i = 0; i < count; ++i) {
    const auto bits = LoadUnaligned<uint32_t>(values + i * sizeof(uint32_t));
    ++counts[i % kCountTables * kPatterns + (bits >> 16)];
  }
  AddLowMoments(values, count, moments);
}

inline ColumnArrays From(const ColumnArrays& arrays, uint64_t column, size_t value_bytes) {
  const uint64_t offset = column * value_bytes;
  return {arrays.signed_max + offset, arrays.unsigned_max + offset, arrays.unsigned_min + offset,
          arrays.nonfinite + column};
}

}  // namespace
}  // namespace quantd
