// Zero points as they are stored: bytes, or codes packed down the columns of a band of rows.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/scheme/recipe.h"

namespace quantd {

// `zeros` to one int8 each, and back.
void StoreZeroPoints(const float* zeros, uint64_t count, std::byte* stored);
void LoadZeroPoints(const std::byte* stored, uint64_t count, float* zeros);

// compressed-tensors: `rows` (1 to 8) rows of `columns` zero points become one word for each column, offset binary, the
// first row in the lowest bits; and back. `zeros` is row-major.
void PackZeroPoints(const float* zeros, uint64_t rows, uint64_t columns, std::byte* words);
void UnpackZeroPoints(const std::byte* words, uint64_t rows, uint64_t columns, float* zeros);

}  // namespace quantd
