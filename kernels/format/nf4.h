// NF4, the 4-bit NormalFloat of QLoRA: 16 levels in [-1, 1] at quantiles of the normal distribution.
#pragma once

#include <cstdint>
#include <string_view>

#include "kernels/format/element.h"
#include "kernels/format/thresholds.h"

namespace quantd {

// The level of every code, in rising order.
inline constexpr float kNf4Levels[16] = {
    -1.0f,
    -0.6961928009986877f,
    -0.5250730514526367f,
    -0.39491748809814453f,
    -0.28444138169288635f,
    -0.18477343022823334f,
    -0.09105003625154495f,
    0.0f,
    0.07958029955625534f,
    0.16093020141124725f,
    0.24611230194568634f,
    0.33791524171829224f,
    0.44070982933044434f,
    0.5626170039176941f,
    0.7229568362236023f,
    1.0f,
};

// bitsandbytes' own literals: the float32 midpoints of the levels differ from some of them by an ulp.
inline constexpr float kNf4Thresholds[15] = {
    -0.8480964004993439f,  -0.6106329262256622f,   -0.4599952697753906f, -0.33967943489551544f, -0.23460740596055984f,
    -0.13791173323988914f, -0.045525018125772476f, 0.03979014977812767f, 0.1202552504837513f,   0.2035212516784668f,
    0.2920137718319893f,   0.3893125355243683f,    0.5016634166240692f,  0.6427869200706482f,   0.8614784181118011f,
};

struct Nf4 {
  static constexpr Element kElement = Element::kNf4;
  static constexpr ElementKind kKind = ElementKind::kLevels;
  static constexpr std::string_view kName = "nf4";
  static constexpr int kBits = 4;
  static constexpr bool kFirstInHighNibble = true;
  static constexpr bool kHasNan = false;
  static constexpr float kLargest = 1.0f;

  // Number of thresholds below `value`: a tie takes the lower code, NaN takes 0.
  static constexpr uint32_t Encode(float value) { return CountBelow(kNf4Thresholds, value); }

  // Bits above kBits are not looked at.
  static constexpr float Decode(uint32_t code) { return kNf4Levels[code & 15]; }
};

}  // namespace quantd
