// bitsandbytes' FP4: sign and a 3-bit magnitude whose codes are not in the order of their values.
#pragma once

#include <bit>
#include <cstdint>
#include <string_view>

#include "kernels/format/element.h"
#include "kernels/format/thresholds.h"

namespace quantd {

// The magnitude of codes 0 to 7; bit 3 is the sign.
inline constexpr float kFp4BnbMagnitudes[8] = {0.0f, 0.005208333333f, 0.66666667f, 1.0f, 0.33333333f,
                                               0.5f, 0.16666667f,     0.25f};

// Between magnitudes in rising order: bitsandbytes' own literals, not the exact midpoints.
inline constexpr float kFp4BnbThresholds[7] = {0.00260417f, 0.0859375f, 0.20833333f, 0.29166667f,
                                               0.4166667f,  0.583333f,  0.8333333f};

struct Fp4Bnb {
  static constexpr Element kElement = Element::kFp4Bnb;
  static constexpr ElementKind kKind = ElementKind::kLevels;
  static constexpr std::string_view kName = "fp4_bnb";
  static constexpr int kBits = 4;
  static constexpr bool kFirstInHighNibble = true;
  static constexpr bool kHasNan = false;
  static constexpr float kLargest = 1.0f;

  // A tie takes the smaller magnitude. -0 and NaN take 0; any other negative value has the sign bit.
  static constexpr uint32_t Encode(float value) {
    const float magnitude = std::bit_cast<float>(std::bit_cast<uint32_t>(value) & 0x7fffffffu);
    const uint32_t rank = CountBelow(kFp4BnbThresholds, magnitude);
    // Ranks 0 to 7 have the codes 0, 1, 6, 7, 4, 5, 2, 3.
    const uint32_t code = rank ^ (rank & 2) << 1;
    return code | static_cast<uint32_t>(value < 0) << 3;
  }

  // Code 8 is -0. Bits above kBits are not looked at.
  static constexpr float Decode(uint32_t code) {
    const float magnitude = kFp4BnbMagnitudes[code & 7];
    return (code & 8) != 0 ? -magnitude : magnitude;
  }
};

}  // namespace quantd
