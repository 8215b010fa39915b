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

// Runs of a few whole registers: four of them at a time, because to find the extreme of one register's lanes takes as
// long as to read it, and of four registers hardly longer.
template <class L, class Values>
void SimdRuns(const std::byte* values, uint64_t run_elements, uint64_t runs, Extremes* extremes) {
  using Bits = typename Values::Bits;
  constexpr uint64_t kPerRegister = L::kBytes / sizeof(Bits);
  constexpr uint64_t kRegistersMax = 4;  // four longer ones are read slower than one after another (measured)
  constexpr uint64_t kTogether = 4;
  const uint64_t run_bytes = run_elements * sizeof(Bits);
  uint64_t run = 0;
  if (run_elements != 0 && run_elements % kPerRegister == 0 && run_elements <= kRegistersMax * kPerRegister) {
    for (; run + kTogether <= runs; run += kTogether) {
      const std::byte* const four = values + run * run_bytes;
      // Not an array, which the compiler would keep in memory.
      auto a = VectorExtremes<L, Bits>::None();
      auto b = a;
      auto c = a;
      auto d = a;
      for (uint64_t at = 0; at < run_bytes; at += L::kBytes) {
        a.Take(L::Load(four + at));
        b.Take(L::Load(four + run_bytes + at));
        c.Take(L::Load(four + 2 * run_bytes + at));
        d.Take(L::Load(four + 3 * run_bytes + at));
      }
      auto all = a;
      all.Take(b);
      all.Take(c);
      all.Take(d);
      if (all.HasNonfinite(Values::kInfinity)) [[unlikely]] {
        RunByRun<Values, PortableRun<Values>>(four, run_elements, kTogether, extremes + run);
        continue;
      }
      Bits signed_max[kTogether];
      Bits unsigned_max[kTogether];
      Bits unsigned_min[kTogether];
      L::template HighestSignedOfFour<Bits>(a.signed_max, b.signed_max, c.signed_max, d.signed_max, signed_max);
      L::template HighestUnsignedOfFour<Bits>(a.unsigned_max, b.unsigned_max, c.unsigned_max, d.unsigned_max,
                                              unsigned_max);
      L::template LowestUnsignedOfFour<Bits>(a.unsigned_min, b.unsigned_min, c.unsigned_min, d.unsigned_min,
                                             unsigned_min);
      for (uint64_t k = 0; k < kTogether; ++k) {
        Extremes& of_run = extremes[run + k];
        const int32_t highest = static_cast<std::make_signed_t<Bits>>(signed_max[k]);
        of_run.signed_max = static_cast<uint32_t>(std::max(static_cast<int32_t>(of_run.signed_max), highest));
        of_run.unsigned_max = std::max(of_run.unsigned_max, uint32_t{unsigned_max[k]});
        of_run.unsigned_min = std::min(of_run.unsigned_min, uint32_t{unsigned_min[k]});  // all are values
      }
    }
  }
  RunByRun<Values, SimdRun<L, Values>>(values + run * run_bytes, run_elements, runs - run, extremes + run);
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
