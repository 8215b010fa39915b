// The 16-bit floats as elements: a tensor is rounded to them without any scale.
#pragma once

#include <cstdint>
#include <string_view>

#include "kernels/base/float16.h"
#include "kernels/format/element.h"

namespace quantd {

struct BFloat16 {
  static constexpr Element kElement = Element::kBFloat16;
  static constexpr ElementKind kKind = ElementKind::kCast;
  static constexpr std::string_view kName = "bf16";
  static constexpr int kBits = 16;
  static constexpr bool kFirstInHighNibble = false;
  static constexpr bool kHasNan = true;
  static constexpr float kLargest = 0x1.fep127f;
  static constexpr uint32_t Encode(float value) { return Float32ToBFloat16(value); }
  static constexpr float Decode(uint32_t code) { return BFloat16ToFloat32(static_cast<uint16_t>(code)); }
};

struct Float16 {
  static constexpr Element kElement = Element::kFloat16;
  static constexpr ElementKind kKind = ElementKind::kCast;
  static constexpr std::string_view kName = "fp16";
  static constexpr int kBits = 16;
  static constexpr bool kFirstInHighNibble = false;
  static constexpr bool kHasNan = true;
  static constexpr float kLargest = 65504.0f;
  static constexpr uint32_t Encode(float value) { return Float32ToFloat16(value); }
  static constexpr float Decode(uint32_t code) { return Float16ToFloat32(static_cast<uint16_t>(code)); }
};

}  // namespace quantd
