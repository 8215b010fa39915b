// The loops of a target with vector registers. A block is looked at without regard to NaN and infinity first; where it
// turns out to have one, the portable loop looks again.
#pragma once

#include "kernels/calibrate/portable_count-inl.h"

namespace quantd {
namespace {

template <class L, class Bits>
struct VectorExtremes {
  using Register = typename L::Register;
  Register signed_max;
  Register unsigned_max;
  Register unsigned_min;

  // A function, because the compiler would make a constructor behind the end of the target's region.
  [[gnu::always_inline]] static inline VectorExtremes None() {
    return {L::template Splat<Bits>(Bits{1} << (8 * sizeof(Bits) - 1)), L::template Splat<Bits>(0),
            L::template Splat<Bits>(static_cast<Bits>(~Bits{0}))};
  }

  [[gnu::always_inline]] void Take(Register values) {
    signed_max = L::template MaxSigned<Bits>(signed_max, values);
    unsigned_max = L::template MaxUnsigned<Bits>(unsigned_max, values);
    unsigned_min = L::template MinUnsigned<Bits>(unsigned_min, values);
  }
  [[gnu::always_inline]] void Take(const VectorExtremes& other) {
    signed_max = L::template MaxSigned<Bits>(signed_max, other.signed_max);
    unsigned_max = L::template MaxUnsigned<Bits>(unsigned_max, other.unsigned_max);
    unsigned_min = L::template MinUnsigned<Bits>(unsigned_min, other.unsigned_min);
  }
  [[gnu::always_inline]] bool HasNonfinite(Bits infinity) const {
    constexpr Bits kSign = Bits{1} << (8 * sizeof(Bits) - 1);
    return L::template AnySignedNotBelow<Bits>(signed_max, infinity) ||
           L::template AnyUnsignedNotBelow<Bits>(unsigned_max, infinity | kSign);
  }
};

template <class L, class Values>
void SimdRun(const std::byte* values, uint64_t count, Extremes& extremes) {
  using Bits = typename Values::Bits;
  constexpr uint64_t kPerRegister = L::kBytes / sizeof(Bits);
  constexpr uint64_t kBlock = 256 * kPerRegister;
  if (count < kPerRegister) return PortableRun<Values>(values, count, extremes);
  auto found = VectorExtremes<L, Bits>::None();
  for (uint64_t begin = 0; begin < count; begin += kBlock) {
    const uint64_t end = std::min(begin + kBlock, count);
    auto first = VectorExtremes<L, Bits>::None();
    auto second = VectorExtremes<L, Bits>::None();
    uint64_t i = begin;
    for (; i + 2 * kPerRegister <= end; i += 2 * kPerRegister) {
      first.Take(L::Load(values + i * sizeof(Bits)));
      second.Take(L::Load(values + (i + kPerRegister) * sizeof(Bits)));
    }
    if (i + kPerRegister <= end) first.Take(L::Load(values + i * sizeof(Bits)));
    // What is left overlaps what was taken, which changes no extreme.
    second.Take(L::Load(values + (end - kPerRegister) * sizeof(Bits)));
    first.Take(second);
    if (first.HasNonfinite(Values::kInfinity)) [[unlikely]] {
      PortableRun<Values>(values + begin * sizeof(Bits), end - begin, extremes);
    } else {
      found.Take(first);
    }
  }
  const int32_t signed_max = L::template HighestSigned<Bits>(found.signed_max);
  extremes.signed_max = static_cast<uint32_t>(std::max(static_cast<int32_t>(extremes.signed_max), signed_max));
  extremes.unsigned_max = std::max(extremes.unsigned_max, L::template HighestUnsigned<Bits>(found.unsigned_max));
  const uint32_t unsigned_min = L::template LowestUnsigned<Bits>(found.unsigned_min);
  // All ones of 16 bits are no value.
  if (unsigned_min != static_cast<Bits>(~Bits{0}))
    extremes.unsigned_min = std::min(extremes.unsigned_min, unsigned_min);
}

// `kRows` rows of as many columns as fill registers.
template <class L, class Values, uint64_t kRows>
inline void SimdRows(const std::byte* values, uint64_t columns, uint64_t row_elements, const ColumnArrays& arrays) {
  using Bits = typename Values::Bits;
  constexpr uint64_t kPerRegister = L::kBytes / sizeof(Bits);
  for (uint64_t column = 0; column + kPerRegister <= columns; column += kPerRegister) {
    const uint64_t offset = column * sizeof(Bits);
    auto of_rows = VectorExtremes<L, Bits>::None();
    for (uint64_t row = 0; row < kRows; ++row) {
      of_rows.Take(L::Load(values + row * row_elements * sizeof(Bits) + offset));
    }
    if (of_rows.HasNonfinite(Values::kInfinity)) [[unlikely]] {
      PortableColumns<Values>(values + offset, kRows, kPerRegister, row_elements, From(arrays, column, sizeof(Bits)));
      continue;
    }
    of_rows.Take({L::Load(arrays.signed_max + offset), L::Load(arrays.unsigned_max + offset),
                  L::Load(arrays.unsigned_min + offset)});
    L::Store(arrays.signed_max + offset, of_rows.signed_max);
    L::Store(arrays.unsigned_max + offset, of_rows.unsigned_max);
    L::Store(arrays.unsigned_min + offset, of_rows.unsigned_min);
  }
}

template <class L, class Values>
void SimdColumns(const std::byte* values, uint64_t rows, uint64_t columns, uint64_t row_elements,
                 const ColumnArrays& arrays) {
  constexpr size_t kValueBytes = sizeof(typename Values::Bits);
  constexpr uint64_t kTogether = 8;
  uint64_t row = 0;
  for (; row + kTogether <= rows; row += kTogether) {
    SimdRows<L, Values, kTogether>(values + row * row_elements * kValueBytes, columns, row_elements, arrays);
  }
  for (; row < rows; ++row) {
    SimdRows<L, Values, 1>(values + row * row_elements * kValueBytes, columns, row_elements, arrays);
  }
  const uint64_t in_registers = columns - columns % (L::kBytes / kValueBytes);
  PortableColumns<Values>(values + in_registers * kValueBytes, rows, columns - in_registers, row_elements,
                          From(arrays, in_registers, kValueBytes));
}

// All squares in units of one exponent not far below the highest, in words of 64 bits: 32 of the square, 22 of the
// distance, 9 of the number of terms. Values with a smaller exponent are rare, and the portable loop's.
template <class L>
void SimdLowSquares(const std::byte* values, uint64_t count, uint32_t highest_exponent, LowSquares& sums) {
  constexpr uint64_t kPerRegister = L::kBytes / sizeof(uint32_t);
  constexpr uint32_t kWindow = 11;
  static_assert(kLowSquaresCountMax / kPerRegister <= 512);
  const uint32_t lowest_exponent = highest_exponent > kWindow ? highest_exponent - kWindow : 1;
  const auto lowest = L::template Splat<uint32_t>(lowest_exponent);
  const auto low_bits = L::template Splat<uint32_t>(0xffff);
  const auto exponent_bits = L::template Splat<uint32_t>(0xff);
  auto even = L::template Splat<uint32_t>(0);
  auto odd = even;
  uint64_t i = 0;
  for (; i + kPerRegister <= count; i += kPerRegister) {
    const auto bits = L::Load(values + i * sizeof(uint32_t));
    const auto low = L::And(bits, low_bits);
    const auto distance = L::Subtract(L::And(L::template ShiftRight<23>(bits), exponent_bits), lowest);
    if (L::AnyNegativeWhereNonzero(distance, low)) [[unlikely]] {
      PortableLowSquares(values + i * sizeof(uint32_t), kPerRegister, highest_exponent, sums);
      continue;
    }
    const auto shift = L::Add(distance, distance);
    const auto low_odd = L::template ShiftRightWide<32>(low);
    even = L::AddWide(even, L::ShiftLeftWide(L::MultiplyEven(low, low), L::EvenOnly(shift)));
    odd = L::AddWide(odd, L::ShiftLeftWide(L::MultiplyEven(low_odd, low_odd), L::template ShiftRightWide<32>(shift)));
  }
  PortableLowSquares(values + i * sizeof(uint32_t), count - i, highest_exponent, sums);
  for (const auto& lanes : {even, odd}) {
    uint64_t words[L::kBytes / sizeof(uint64_t)];
    L::Store(words, lanes);
    for (const uint64_t word : words) sums[lowest_exponent] += word;
  }
}

}  // namespace
}  // namespace quantd
