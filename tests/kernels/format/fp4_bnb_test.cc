#include "kernels/format/fp4_bnb.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

namespace quantd {
namespace {

// The constants in the compiled library, and the code above each threshold.
constexpr uint32_t kThresholdBits[7] = {0x3b2aaab9, 0x3db00000, 0x3e555555, 0x3e955555,
                                        0x3ed55556, 0x3f155550, 0x3f555555};
constexpr uint32_t kCodeOfRank[8] = {0, 1, 6, 7, 4, 5, 2, 3};

TEST(Fp4BnbEncode, HasTheLibrarysThresholds) {
  for (int i = 0; i < 7; ++i) EXPECT_EQ(std::bit_cast<uint32_t>(kFp4BnbThresholds[i]), kThresholdBits[i]) << i;
}

TEST(Fp4BnbEncode, TieGoesToTheSmallerMagnitude) {
  for (int rank = 0; rank < 7; ++rank) {
    const float threshold = kFp4BnbThresholds[rank];
    const float above = std::nextafter(threshold, 2.0f);
    const float below = std::nextafter(threshold, 0.0f);
    EXPECT_EQ(Fp4Bnb::Encode(std::nextafter(below, 0.0f)), kCodeOfRank[rank]);
    EXPECT_EQ(Fp4Bnb::Encode(below), kCodeOfRank[rank]);
    EXPECT_EQ(Fp4Bnb::Encode(threshold), kCodeOfRank[rank]);
    EXPECT_EQ(Fp4Bnb::Encode(above), kCodeOfRank[rank + 1]);
    EXPECT_EQ(Fp4Bnb::Encode(std::nextafter(above, 2.0f)), kCodeOfRank[rank + 1]);
    EXPECT_EQ(Fp4Bnb::Encode(-threshold), kCodeOfRank[rank] + 8);
    EXPECT_EQ(Fp4Bnb::Encode(-above), kCodeOfRank[rank + 1] + 8);
  }
}

TEST(Fp4BnbEncode, ReturnsTheCodeOfEveryLevelButMinusZero) {
  for (uint8_t code = 0; code < 16; ++code) {
    EXPECT_EQ(Fp4Bnb::Encode(Fp4Bnb::Decode(code)), code == 8 ? 0u : code);
  }
}

TEST(Fp4BnbEncode, GivesTheSignOnlyToWhatIsBelowZero) {
  EXPECT_EQ(Fp4Bnb::Encode(-0.0f), 0u);
  EXPECT_EQ(Fp4Bnb::Encode(-0x1p-126f), 8u);
  EXPECT_EQ(Fp4Bnb::Encode(std::numeric_limits<float>::quiet_NaN()), 0u);
  EXPECT_EQ(Fp4Bnb::Encode(-std::numeric_limits<float>::quiet_NaN()), 0u);
}

TEST(Fp4BnbDecode, HasMinusZeroAtCode8) {
  EXPECT_EQ(std::bit_cast<uint32_t>(Fp4Bnb::Decode(8)), 0x80000000u);
  EXPECT_EQ(std::bit_cast<uint32_t>(Fp4Bnb::Decode(0)), 0u);
}

}  // namespace
}  // namespace quantd
