// Two's complement integers of 2 to 8 bits.
#pragma once

#include <cstdint>
#include <string_view>

#include "kernels/format/element.h"

namespace quantd {

template <int kBitsInAll>
struct Integer {
  static constexpr ElementKind kKind = ElementKind::kInteger;
  static constexpr int kBits = kBitsInAll;
  static constexpr bool kFirstInHighNibble = false;
  static constexpr bool kHasNan = false;
  static constexpr int kLowest = -(1 << (kBits - 1));
  static constexpr float kLargest = static_cast<float>((1 << (kBits - 1)) - 1);

  // The nearest integer, a tie to the even one, clamped to the range; NaN gives 0.
  static constexpr uint32_t Encode(float value) {
    if (value != value) return 0;
    const float low = value > static_cast<float>(kLowest) ? value : static_cast<float>(kLowest);
    const float clamped = low < kLargest ? low : kLargest;
    // Floats from here on have no fraction, so the addition rounds to an integer.
    constexpr float kMagic = 0x1.8p23f;
    const float rounded = (clamped + kMagic) - kMagic;
    return static_cast<uint32_t>(static_cast<int32_t>(rounded)) & ((1u << kBits) - 1);
  }

  // Bits above kBits are not looked at.
  static constexpr float Decode(uint32_t code) {
    return static_cast<float>(static_cast<int32_t>(code << (32 - kBits)) >> (32 - kBits));
  }
};

struct Int2 : Integer<2> {
  static constexpr Element kElement = Element::kInt2;
  static constexpr std::string_view kName = "int2";
};
struct Int3 : Integer<3> {
  static constexpr Element kElement = Element::kInt3;
  static constexpr std::string_view kName = "int3";
};
struct Int4 : Integer<4> {
  static constexpr Element kElement = Element::kInt4;
  static constexpr std::string_view kName = "int4";
};
struct Int5 : Integer<5> {
  static constexpr Element kElement = Element::kInt5;
  static constexpr std::string_view kName = "int5";
};
struct Int6 : Integer<6> {
  static constexpr Element kElement = Element::kInt6;
  static constexpr std::string_view kName = "int6";
};
struct Int7 : Integer<7> {
  static constexpr Element kElement = Element::kInt7;
  static constexpr std::string_view kName = "int7";
};
struct Int8 : Integer<8> {
  static constexpr Element kElement = Element::kInt8;
  static constexpr std::string_view kName = "int8";
};

}  // namespace quantd
