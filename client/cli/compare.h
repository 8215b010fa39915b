// How far two arrays are apart.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "server/conversion/safetensors_dtype.h"

namespace quantd::cli {

// Over pairs (a, b) of elements, a from the first array, widened to float64. Sums are float64, over runs of
// kCompareElements from left to right. Pairs with a NaN or an infinity count, but are left out of all sums.
struct ErrorStatistics {
  uint64_t elements = 0;
  uint64_t differing = 0;            // a != b; two NaN are equal
  uint64_t nonfinite = 0;            // pairs with a NaN or an infinity
  uint64_t nonfinite_differing = 0;  // of these, a != b
  double sum_squared_error = 0;      // Σ(a−b)²
  double sum_squared_first = 0;      // Σa²
  double sum_squared_second = 0;     // Σb²
  double sum_product = 0;            // Σab
  double max_abs_error = 0;          // max |a−b|

  // Σ(a−b)² / pairs; 0 for none.
  double MeanSquaredError() const;
  // 10·log10(Σa² / Σ(a−b)²); infinite for no error, -infinite for no signal.
  double SnrDb() const;
  // Σab / sqrt(Σa²·Σb²); 1 where both are all zero, 0 where only one is.
  double Cosine() const;

  void Merge(const ErrorStatistics& other);
};

inline constexpr uint64_t kCompareElements = 4096;

// Whether CompareValues can look into arrays of these types: any two of F64, F32, F16 and BF16, or the same one of I8,
// U8, I16, U16, I32 and U32. All widen to float64 exactly.
bool CanCompareValues(const server::SafetensorsDtype& first, const server::SafetensorsDtype& second);

// Both arrays hold the same number of elements; CanCompareValues. `keep_going` is asked between runs and told how many
// elements were compared; when it says no the result is of what was seen until then.
ErrorStatistics CompareValues(const server::SafetensorsDtype& first_dtype, std::span<const std::byte> first,
                              const server::SafetensorsDtype& second_dtype, std::span<const std::byte> second,
                              const std::function<bool(uint64_t elements)>& keep_going);

}  // namespace quantd::cli
