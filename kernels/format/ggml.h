// ggml's blocks of 32 elements: scale, perhaps a minimum, and codes in one run of bytes. Element j of the first half
// and element j of the second share a byte; fifth bits lie apart.
#pragma once

#include <cstdint>

#include "kernels/base/float16.h"

namespace quantd {

inline constexpr uint32_t kGgmlBlockElements = 32;

// 4 or 5 bits. kHasMinimum: q4_1 and q5_1, whose codes count up from the block's minimum; else q4_0 and q5_0, whose
// scale makes the value of largest magnitude the lowest code.
template <int kBits, bool kHasMinimum>
struct GgmlNibbleBlock {
  static constexpr uint32_t kScaleBytes = kHasMinimum ? 4 : 2;
  static constexpr uint32_t kFifthBitBytes = kBits == 5 ? 4 : 0;
  static constexpr uint32_t kBytes = kScaleBytes + kFifthBitBytes + 16;
  static constexpr float kLargestCode = static_cast<float>((1 << kBits) - 1);
  static constexpr float kHalf = static_cast<float>(1 << (kBits - 1));

  static constexpr void Encode(const float (&values)[kGgmlBlockElements], uint8_t* block) {
    float scale = 0;
    float minimum = 0;
    if constexpr (kHasMinimum) {
      float maximum = values[0];
      minimum = values[0];
      for (const float value : values) {
        minimum = value < minimum ? value : minimum;
        maximum = value > maximum ? value : maximum;
      }
      scale = (maximum - minimum) / kLargestCode;
    } else {
      // A block of zeros has a scale whose sign is that of its first.
      float largest = values[0];
      float largest_magnitude = largest < 0 ? -largest : largest;
      for (const float value : values) {
        const float magnitude = value < 0 ? -value : value;
        if (magnitude <= largest_magnitude) continue;  // the first one on ties
        largest_magnitude = magnitude;
        largest = value;
      }
      scale = largest / -kHalf;
    }
    const float inverse = scale == 0 ? 0.0f : 1.0f / scale;
    Store16(block, Float32ToFloat16(scale));
    if constexpr (kHasMinimum) Store16(block + 2, Float32ToFloat16(minimum));

    uint8_t* const nibbles = block + kScaleBytes + kFifthBitBytes;
    uint32_t fifth_bits = 0;
    for (uint32_t j = 0; j < 16; ++j) {
      const uint32_t low = Code(values[j], minimum, inverse);
      const uint32_t high = Code(values[j + 16], minimum, inverse);
      nibbles[j] = static_cast<uint8_t>((low & 15) | (high & 15) << 4);
      fifth_bits |= low >> 4 << j | high >> 4 << (j + 16);
    }
    if constexpr (kBits == 5) {
      for (uint32_t i = 0; i < 4; ++i) block[kScaleBytes + i] = static_cast<uint8_t>(fifth_bits >> (8 * i));
    }
  }

  static constexpr void Decode(const uint8_t* block, float (&values)[kGgmlBlockElements]) {
    const float scale = Float16ToFloat32(Load16(block));
    const float minimum = kHasMinimum ? Float16ToFloat32(Load16(block + 2)) : 0.0f;
    const uint8_t* const nibbles = block + kScaleBytes + kFifthBitBytes;
    uint32_t fifth_bits = 0;
    if constexpr (kBits == 5) {
      for (uint32_t i = 0; i < 4; ++i) fifth_bits |= static_cast<uint32_t>(block[kScaleBytes + i]) << (8 * i);
    }
    for (uint32_t j = 0; j < 16; ++j) {
      const uint32_t low = (nibbles[j] & 15u) | (fifth_bits >> j & 1) << 4;
      const uint32_t high = static_cast<uint32_t>(nibbles[j] >> 4) | (fifth_bits >> (j + 16) & 1) << 4;
      values[j] = Value(low, scale, minimum);
      values[j + 16] = Value(high, scale, minimum);
    }
  }

 private:
  static constexpr uint32_t Code(float value, float minimum, float inverse) {
    // Truncation of a value moved up by a half, as the library rounds. Where |scale| below 2^-128 makes the inverse
    // infinite, the library's codes on x86 are 0.
    const float moved = kHasMinimum ? (value - minimum) * inverse + 0.5f : value * inverse + (kHalf + 0.5f);
    const bool counts = moved >= 1 && moved <= 0x1.fffffep127f;  // false for NaN
    if (!counts) return 0;
    return moved < kLargestCode ? static_cast<uint32_t>(moved) : static_cast<uint32_t>(kLargestCode);
  }
  static constexpr float Value(uint32_t code, float scale, float minimum) {
    if constexpr (kHasMinimum) return scale * static_cast<float>(code) + minimum;
    return scale * (static_cast<float>(code) - kHalf);
  }
  static constexpr void Store16(uint8_t* target, uint16_t value) {
    target[0] = static_cast<uint8_t>(value);
    target[1] = static_cast<uint8_t>(value >> 8);
  }
  static constexpr uint16_t Load16(const uint8_t* source) { return static_cast<uint16_t>(source[0] | source[1] << 8); }
};

// q8_0.
struct GgmlByteBlock {
  static constexpr uint32_t kBytes = 34;

  static constexpr void Encode(const float (&values)[kGgmlBlockElements], uint8_t* block) {
    float absmax = 0;
    for (const float value : values) {
      const float magnitude = value < 0 ? -value : value;
      absmax = magnitude > absmax ? magnitude : absmax;
    }
    const float scale = absmax / 127.0f;
    const float inverse = scale == 0 ? 0.0f : 1.0f / scale;
    const uint16_t bits = Float32ToFloat16(scale);
    block[0] = static_cast<uint8_t>(bits);
    block[1] = static_cast<uint8_t>(bits >> 8);
    for (uint32_t j = 0; j < kGgmlBlockElements; ++j) block[2 + j] = static_cast<uint8_t>(Code(values[j] * inverse));
  }

  static constexpr void Decode(const uint8_t* block, float (&values)[kGgmlBlockElements]) {
    const float scale = Float16ToFloat32(static_cast<uint16_t>(block[0] | block[1] << 8));
    for (uint32_t j = 0; j < kGgmlBlockElements; ++j) {
      values[j] = scale * static_cast<float>(static_cast<int8_t>(block[2 + j]));
    }
  }

 private:
  // Half away from zero. An infinite or NaN product (scale below 2^-128) gives 0.
  static constexpr int32_t Code(float scaled) {
    const float magnitude = scaled < 0 ? -scaled : scaled;
    if (!(magnitude < 256)) return 0;
    const auto whole = static_cast<int32_t>(magnitude);
    const int32_t rounded = whole + (magnitude - static_cast<float>(whole) >= 0.5f ? 1 : 0);
    return scaled < 0 ? -rounded : rounded;
  }
};

}  // namespace quantd
