// The piece of a tensor that one look at its range, one set of scales and one loop over its codes are made for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/base/data_type.h"

namespace quantd {

// Rows that share their scales: one row, or as many as a tile has. They lie one after another, runs from the left.
struct Strip {
  const std::byte* values;
  DataType dtype;
  uint64_t rows;
  uint64_t row_elements;
  uint64_t run_elements;
  uint64_t first_element;  // counted from the tensor's first

  uint64_t element_count() const { return rows * row_elements; }
  uint64_t run_count() const { return (row_elements + run_elements - 1) / run_elements; }
};

// A strip's arrays of one number for each run.
struct RunArrays {
  explicit RunArrays(uint64_t runs_max)
      : absmax(runs_max), lowest(runs_max), highest(runs_max), factors(runs_max), zeros(runs_max), row(runs_max * 2) {}

  std::vector<float> absmax;
  std::vector<float> lowest;
  std::vector<float> highest;
  std::vector<float> factors;  // of encoding; scales in decoding
  std::vector<float> zeros;
  std::vector<float> row;  // scratch, of one row of a tile: two arrays
};

}  // namespace quantd
