#include "kernels/format/nf4.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

namespace quantd {
namespace {

// The constants in the compiled library.
constexpr uint32_t kThresholdBits[15] = {0xbf591cd9, 0xbf1c5270, 0xbeeb8480, 0xbeadea76, 0xbe703cec,
                                         0xbe0d38bc, 0xbd3a7871, 0x3d22faff, 0x3df64863, 0x3e5067e0,
                                         0x3e9582d4, 0x3ec753f9, 0x3f006d03, 0x3f248daf, 0x3f5c89d9};

float Above(float value) { return std::nextafter(value, 2.0f); }
float Below(float value) { return std::nextafter(value, -2.0f); }

TEST(Nf4Encode, HasTheLibrarysThresholds) {
  for (int i = 0; i < 15; ++i) EXPECT_EQ(std::bit_cast<uint32_t>(kNf4Thresholds[i]), kThresholdBits[i]) << i;
}

TEST(Nf4Encode, TieGoesToTheLowerCode) {
  for (uint32_t code = 0; code < 15; ++code) {
    const float threshold = kNf4Thresholds[code];
    EXPECT_EQ(Nf4::Encode(Below(Below(threshold))), code);
    EXPECT_EQ(Nf4::Encode(Below(threshold)), code);
    EXPECT_EQ(Nf4::Encode(threshold), code);
    EXPECT_EQ(Nf4::Encode(Above(threshold)), code + 1);
    EXPECT_EQ(Nf4::Encode(Above(Above(threshold))), code + 1);
  }
}

TEST(Nf4Encode, ReturnsTheCodeOfEveryLevel) {
  for (uint32_t code = 0; code < 16; ++code) {
    EXPECT_EQ(Nf4::Encode(Nf4::Decode(static_cast<uint8_t>(code))), code);
  }
}

TEST(Nf4Encode, MakesCode7OfBothZerosAnd0OfNan) {
  EXPECT_EQ(Nf4::Encode(0.0f), 7u);
  EXPECT_EQ(Nf4::Encode(-0.0f), 7u);
  EXPECT_EQ(Nf4::Encode(std::numeric_limits<float>::quiet_NaN()), 0u);
}

TEST(Nf4Encode, ClampsBeyondOne) {
  EXPECT_EQ(Nf4::Encode(Above(1.0f)), 15u);
  EXPECT_EQ(Nf4::Encode(Below(-1.0f)), 0u);
}

TEST(Nf4Decode, RisesFromMinusOneToOne) {
  EXPECT_EQ(Nf4::Decode(0), -1.0f);
  EXPECT_EQ(Nf4::Decode(7), 0.0f);
  EXPECT_EQ(Nf4::Decode(15), 1.0f);
  for (uint8_t code = 1; code < 16; ++code) EXPECT_LT(Nf4::Decode(code - 1), Nf4::Decode(code));
}

}  // namespace
}  // namespace quantd
