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

// The moments of a block, in units of the lowest exponent field of a window that ends with the block's highest. What
// lies below is rare, and the portable loop's.
template <class L>
class WindowMoments {
  using Register = typename L::Register;
  static constexpr uint64_t kPerRegister = L::kBytes / sizeof(uint32_t);
  static constexpr uint32_t kWindow = 11;

 public:
  // `low` is shifted by at most kWindow and added so often before it is widened.
  static constexpr uint64_t kNarrowTermsMax = 8;
  static_assert(kNarrowTermsMax << (16 + kWindow) < uint64_t{1} << 31);
  // A product has 41 bits and is shifted by at most twice kWindow; its upper half is added once for each register.
  static_assert(41 + 2 * kWindow < 64 && kCountTogetherMax / kPerRegister <= 512);

  // A function, because the compiler would make a constructor behind the end of the target's region.
  [[gnu::always_inline]] static inline WindowMoments UpTo(uint32_t highest_exponent) {
    const auto zero = L::template Splat<uint32_t>(0);
    const uint32_t lowest = highest_exponent > kWindow ? highest_exponent - kWindow : 1;
    return {lowest, L::template Splat<uint32_t>(lowest), zero, zero, zero, zero, zero, zero, zero};
  }

  // False, and nothing added, if one of the values lies below the window.
  [[gnu::always_inline]] bool Take(Register bits) {
    const auto low = L::And(bits, L::template Splat<uint32_t>(0xffff));
    const auto exponent = L::And(L::template ShiftRight<23>(bits), L::template Splat<uint32_t>(0xff));
    const auto distance = L::Subtract(exponent, lowest_register);
    if (L::AnyNegativeWhereNonzero(distance, low)) [[unlikely]]
      return false;

    const auto sign = L::template ShiftRightSigned<31>(bits);
    narrow = L::Add(narrow, L::ShiftLeft(L::Subtract(L::Xor(low, sign), sign), distance));

    // The hidden bit: where there is none, low is 0 or lies below the window.
    const auto significand =
        L::Or(L::And(bits, L::template Splat<uint32_t>(0x7fffff)), L::template Splat<uint32_t>(0x800000));
    const auto factor = L::Add(significand, L::And(significand, L::template Splat<uint32_t>(0xffff0000u)));
    const auto shift = L::Add(distance, distance);
    const auto even = L::ShiftLeftWide(L::MultiplyEven(low, factor), L::EvenOnly(shift));
    const auto odd =
        L::ShiftLeftWide(L::MultiplyEven(L::template ShiftRightWide<32>(low), L::template ShiftRightWide<32>(factor)),
                         L::template ShiftRightWide<32>(shift));
    even_products = L::AddWide(even_products, even);
    odd_products = L::AddWide(odd_products, odd);
    even_upper = L::AddWide(even_upper, L::template ShiftRightWide<32>(even));
    odd_upper = L::AddWide(odd_upper, L::template ShiftRightWide<32>(odd));
    return true;
  }

  // At least once in kNarrowTermsMax.
  [[gnu::always_inline]] void Widen() {
    even_sums = L::AddWide(even_sums, L::SignExtendEven(narrow));
    odd_sums = L::AddWide(odd_sums, L::SignExtendEven(L::template ShiftRightWide<32>(narrow)));
    narrow = L::template Splat<uint32_t>(0);
  }

  void AddTo(LowMoments& moments) const {
    int64_t sum = 0;
    for (const auto& lanes : {even_sums, odd_sums}) {
      for (const uint64_t lane : Lanes(lanes)) sum += static_cast<int64_t>(lane);
    }
    if (sum >= 0) {
      moments.sums[lowest] += static_cast<uint64_t>(sum);
    } else {
      moments.sums[kExponents + lowest] += static_cast<uint64_t>(-sum);
    }
    AddProducts(even_products, even_upper, moments);
    AddProducts(odd_products, odd_upper, moments);
  }

  uint32_t lowest;
  Register lowest_register;
  Register narrow;
  Register even_sums;
  Register odd_sums;
  Register even_products;  // modulo 2^64
  Register odd_products;
  Register even_upper;  // of their bits from 32 on, which tell how often that was passed
  Register odd_upper;

 private:
  using Words = std::array<uint64_t, L::kBytes / sizeof(uint64_t)>;
  static Words Lanes(const Register& lanes) {
    Words words;
    L::Store(words.data(), lanes);
    return words;
  }
  void AddProducts(const Register& products, const Register& upper, LowMoments& moments) const {
    const Words modulo = Lanes(products);
    const Words uppers = Lanes(upper);
    for (size_t i = 0; i < modulo.size(); ++i) {
      const uint64_t lower = modulo[i] - (uppers[i] << 32);  // less than 2^32 times the number of terms
      moments.products[lowest] += (static_cast<Wide>(uppers[i]) << 32) + lower;
    }
  }
};

template <class L>
void SimdCount32(const std::byte* values, uint64_t count, uint32_t highest_exponent, uint32_t* counts,
                 LowMoments& moments) {
  using Window = WindowMoments<L>;
  constexpr uint64_t kPerRegister = L::kBytes / sizeof(uint32_t);
  constexpr uint64_t kTogether = Window::kNarrowTermsMax * kPerRegister;
  uint32_t* const others = counts + kPatterns;
  auto window = Window::UpTo(highest_exponent);
  uint64_t i = 0;
  while (i + kTogether <= count) {
    for (const uint64_t end = i + kTogether; i < end; i += kPerRegister) {
      const std::byte* const source = values + i * sizeof(uint32_t);
      // The next block, whose extremes are found before it is counted.
      __builtin_prefetch(source + kCountTogetherMax * sizeof(uint32_t), 0, 2);
      const auto bits = L::Load(source);
      if (!window.Take(bits)) [[unlikely]]
        AddLowMoments(source, kPerRegister, moments);
      if (L::AllEqual(bits)) [[unlikely]] {
        counts[LoadUnaligned<uint32_t>(source) >> 16] += kPerRegister;
        continue;
      }
      for (uint64_t k = 0; k < kPerRegister; k += 2) {
        const auto pair = LoadUnaligned<uint64_t>(source + k * sizeof(uint32_t));
        ++counts[pair >> 16 & 0xffff];
        ++others[pair >> 48];
      }
    }
    window.Widen();
  }
  window.AddTo(moments);
  PortableCount32(values + i * sizeof(uint32_t), count - i, highest_exponent, counts, moments);
}

}  // namespace
}  // namespace quantd
