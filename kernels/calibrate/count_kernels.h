// The loops over values that an instruction set provides.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "kernels/base/data_type.h"

namespace quantd {

// Of the finite ones of some values, as bit patterns in the values' own width: what three vector instructions a
// register can find. Order them by sign and magnitude, -0 below +0.
struct Extremes {
  uint32_t signed_max = 0x80000000u;  // as two's complement: the highest, if there is one without a sign
  uint32_t unsigned_max = 0;          // the lowest, if there is one with a sign
  uint32_t unsigned_min = ~0u;        // else; all ones of the width if there is no value
  uint64_t nonfinite = 0;
};

// The same for many columns: arrays in the values' own width, and the columns' non-finite counts.
struct ColumnArrays {
  std::byte* signed_max;
  std::byte* unsigned_max;
  std::byte* unsigned_min;
  uint64_t* nonfinite;
};

// Counts `count` values into `extremes` too, which are widened: sign-extended, zero-extended, and all 32 bits set where
// there is no value.
using RunFunction = void (*)(const std::byte* values, uint64_t count, Extremes& extremes);
// The same of each of `runs` adjoining runs, of `run_elements` values each.
using RunsFunction = void (*)(const std::byte* values, uint64_t run_elements, uint64_t runs, Extremes* extremes);
// `rows` rows of `columns` values, `row_elements` from one row's begin to the next one's.
using ColumnsFunction = void (*)(const std::byte* values, uint64_t rows, uint64_t columns, uint64_t row_elements,
                                 const ColumnArrays& arrays);

// Squares of the lower 16 bits of float32 patterns, summed: entry e in units of 4^(max(e, 1) - 150), the square of the
// last bit of a number with exponent field e.
__extension__ using Wide = unsigned __int128;
using LowSquares = std::array<Wide, 256>;
inline constexpr uint64_t kLowSquaresCountMax = 4096;

// At most kLowSquaresCountMax values, all finite, none with a larger exponent field than `highest_exponent`. Which
// entries a target adds to is its own affair; all together are the same sum.
using LowSquaresFunction = void (*)(const std::byte* values, uint64_t count, uint32_t highest_exponent,
                                    LowSquares& sums);

// By FloatTypeIndex of kernels/cpu/kernel_table.h: float32, float16, bfloat16.
struct CountKernels {
  std::string_view target;  // as of CpuTargets()
  std::array<RunFunction, 3> run;
  std::array<RunsFunction, 3> runs;
  std::array<ColumnsFunction, 3> columns;
  LowSquaresFunction low_squares;
};

extern const CountKernels kBaselineCountKernels;
extern const CountKernels kAvx2CountKernels;  // x86-64 only, as the next
extern const CountKernels kAvx512CountKernels;

// Those of SupportedKernels(), the slowest first. Found once.
std::span<const CountKernels* const> SupportedCountKernels();
const CountKernels& BestCountKernels();

}  // namespace quantd
