// Codes to bytes and back.
#pragma once

#include <cstdint>
#include <vector>

#include "tests/support/reference_tensor.h"

namespace quantd::testing {

// Rows of `columns` codes of `bits` bits, each row one little-endian bit stream that fills up whole units with 0 bits.
Bytes PackRows(const std::vector<uint32_t>& codes, uint64_t columns, int bits, int unit_bits);
std::vector<uint32_t> UnpackRows(const Bytes& bytes, uint64_t rows, uint64_t columns, int bits, int unit_bits);

// The segment `codes` of a scheme that has bytes for units: the first of two nf4 or fp4_bnb codes in the high half,
// everything else one bit stream; over the flattened tensor, or row by row where groups are parts of rows.
Bytes PackCodes(const ReferenceTensor& tensor, std::vector<uint32_t> codes);
std::vector<uint32_t> UnpackCodes(const ReferenceTensor& tensor, const Bytes& bytes);

// A matrix of 32-bit words of `rows` rows with rows and columns exchanged.
Bytes WordsTransposed(const Bytes& words, uint64_t rows);

// Rows become columns.
template <class T>
std::vector<T> Transposed(const std::vector<T>& matrix, uint64_t rows, uint64_t columns) {
  std::vector<T> result;
  for (uint64_t column = 0; column < columns; ++column) {
    for (uint64_t row = 0; row < rows; ++row) result.push_back(matrix[row * columns + column]);
  }
  return result;
}

}  // namespace quantd::testing
