#include "kernels/cpu/nested_scales.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/value_types.h"
#include "kernels/format/block_arithmetic.h"
#include "kernels/format/dynamic8.h"

namespace quantd {
namespace {

using Rules = BitsandbytesArithmetic;

// As fmaxf finds it from -FLT_MAX up: NaN is passed over, and the padding of a short block counts.
float LibraryAbsmax(const float* values, uint32_t count) {
  float absmax = count < kNestedBlockScales ? 0.0f : -std::numeric_limits<float>::max();
  for (uint32_t i = 0; i < count; ++i) {
    const float magnitude = std::abs(values[i]);
    if (magnitude > absmax) absmax = magnitude;
  }
  return absmax;
}

}  // namespace

void EncodeNestedBlock(const std::byte* scales, uint32_t count, float offset, std::byte* codes,
                       std::byte* nested_scale) {
  float differences[kNestedBlockScales];
  for (uint32_t i = 0; i < count; ++i) differences[i] = LoadUnaligned<float>(scales + i * sizeof(float)) - offset;
  const float scale = Rules::ScaleOf(LibraryAbsmax(differences, count));
  const float factor = Rules::FactorOf(scale);
  for (uint32_t i = 0; i < count; ++i) {
    codes[i] = static_cast<std::byte>(Dynamic8::Encode(Rules::Normalize(differences[i], factor)));
  }
  StoreUnaligned(nested_scale, scale);
}

void DecodeNestedBlock(const std::byte* codes, uint32_t count, float nested_scale, float offset, std::byte* scales) {
  for (uint32_t i = 0; i < count; ++i) {
    const float difference = Rules::Restore(Dynamic8::Decode(static_cast<uint8_t>(codes[i])), nested_scale);
    StoreUnaligned(scales + i * sizeof(float), difference + offset);
  }
}

}  // namespace quantd
