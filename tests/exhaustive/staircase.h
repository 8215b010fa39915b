// Encoders as staircases: with all float patterns in the order of their values, from the NaNs with a sign over
// -infinity, -0 and +0 to the NaNs without one, every encoder is constant but for a few steps. Where these lie is found
// here by comparing integers; nothing is shared with kernels/format.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/format/element.h"

namespace quantd::testing {

constexpr uint32_t PlaceOf(uint32_t bits) { return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u; }
constexpr uint32_t BitsAt(uint32_t place) { return (place & 0x80000000u) != 0 ? place & 0x7fffffffu : ~place; }

struct Step {
  uint32_t first;  // place of the lowest float with this code
  uint32_t code;
};
using Staircase = std::vector<Step>;  // in rising order, the first step at place 0

struct Rules {
  bool ieee_overflow = false;
  bool unsigned_zero = false;
};

// The code of every float, two's complement for integers.
Staircase StaircaseOf(Element element, Rules rules = {});
// The same of an encoder that takes subnormals for zeros of their sign.
Staircase SubnormalsFlushed(const Staircase& stairs);

uint32_t CodeOf(const Staircase& stairs, uint32_t bits);
// codes[i] is the code of the float at place begin + i.
void FillCodes(const Staircase& stairs, uint32_t begin, std::span<uint16_t> codes);

// Bits of the float32 that each code of an element means, all of them.
std::vector<uint32_t> LevelsOf(Element element);

}  // namespace quantd::testing
