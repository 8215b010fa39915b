// How far decoded values are from the values: sums that do not depend on the order of their terms.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/base/exact_sum.h"

namespace quantd {

// Over finite values, an error being the float64 difference between value and decoded value.
struct ErrorSums {
  uint64_t count = 0;
  ExactSum squared_error;
  ExactSum squared_value;
  double largest_error = 0;  // magnitude

  void Merge(const ErrorSums& other) {
    count += other.count;
    squared_error.Merge(other.squared_error);
    squared_value.Merge(other.squared_value);
    largest_error = std::max(largest_error, other.largest_error);
  }
};

}  // namespace quantd
