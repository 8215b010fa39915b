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

inline constexpr size_t kPatterns = 1 << 16;
inline constexpr size_t kExponents = 256;
__extension__ using Wide = unsigned __int128;

// float32 is (high · 2^16 + low) · 2^(max(e, 1) - 150), of an exponent field e. How often each upper half occurs tells
// the sums of all but `low`; these are the rest. What is not finite is in the entries of field 255, which mean nothing.
struct LowMoments {
  std::array<uint64_t, 2 * kExponents> sums{};  // of low, by sign and exponent field
  std::array<Wide, kExponents> products{};      // of low · (2^17 · high + low), by exponent field
};
inline constexpr uint64_t kCountTogetherMax = 4096;
inline constexpr size_t kCountTables = 2;  // in turn, so that equal neighbours do not wait for each other

// Of at most kCountTogetherMax float32 values none of whose exponent fields is above `highest_exponent`; if that is 255
// (not all are finite) the baseline's only. `counts`: kCountTables times kPatterns. Which of the tables and which
// entries of the moments a target adds to is its own affair; all together are the same.
using Count32Function = void (*)(const std::byte* values, uint64_t count, uint32_t highest_exponent, uint32_t* counts,
                                 LowMoments& moments);

// By FloatTypeIndex of kernels/cpu/kernel_table.h: float32, float16, bfloat16.
struct CountKernels {
  std::string_view target;  // as of CpuTargets()
  std::array<RunFunction, 3> run;
  std::array<RunsFunction, 3> runs;
  std::array<ColumnsFunction, 3> columns;
  Count32Function count32;
};

extern const CountKernels kBaselineCountKernels;
extern const CountKernels kAvx2CountKernels;  // x86-64 only, as the next
extern const CountKernels kAvx512CountKernels;

// Those of SupportedKernels(), the slowest first. Found once.
std::span<const CountKernels* const> SupportedCountKernels();
const CountKernels& BestCountKernels();

}  // namespace quantd
