#include "kernels/cpu/zero_points.h"

#include "kernels/format/value_types.h"

namespace quantd {
namespace {

// The preset's zero points are int4.
constexpr int32_t kOffset = 8;
constexpr uint64_t kBits = 4;

}  // namespace

void StoreZeroPoints(const float* zeros, uint64_t count, std::byte* stored) {
  for (uint64_t i = 0; i < count; ++i) stored[i] = static_cast<std::byte>(static_cast<int8_t>(zeros[i]));
}

void LoadZeroPoints(const std::byte* stored, uint64_t count, float* zeros) {
  for (uint64_t i = 0; i < count; ++i) zeros[i] = static_cast<float>(static_cast<int8_t>(stored[i]));
}

void PackZeroPoints(const float* zeros, uint64_t rows, uint64_t columns, std::byte* words) {
  for (uint64_t column = 0; column < columns; ++column) {
    uint32_t word = 0;
    for (uint64_t row = 0; row < rows; ++row) {
      const int32_t zero = static_cast<int32_t>(zeros[row * columns + column]) + kOffset;
      word |= static_cast<uint32_t>(zero) << (row * kBits);
    }
    StoreUnaligned(words + column * sizeof(word), word);
  }
}

void UnpackZeroPoints(const std::byte* words, uint64_t rows, uint64_t columns, float* zeros) {
  for (uint64_t column = 0; column < columns; ++column) {
    const auto word = LoadUnaligned<uint32_t>(words + column * sizeof(uint32_t));
    for (uint64_t row = 0; row < rows; ++row) {
      zeros[row * columns + column] = static_cast<float>(static_cast<int32_t>(word >> (row * kBits) & 15) - kOffset);
    }
  }
}

}  // namespace quantd
