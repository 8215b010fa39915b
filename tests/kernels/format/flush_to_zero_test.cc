#include "kernels/format/flush_to_zero.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

namespace quantd {
namespace {

uint32_t Bits(float value) { return std::bit_cast<uint32_t>(value); }

TEST(FlushToZero, KeepsTheSignOfSubnormalsAndAllElse) {
  EXPECT_EQ(Bits(FlushToZero(0x1p-149f)), 0u);
  EXPECT_EQ(Bits(FlushToZero(-0x1p-127f)), 0x80000000u);
  EXPECT_EQ(FlushToZero(0x1p-126f), 0x1p-126f);
  EXPECT_EQ(FlushToZero(-std::numeric_limits<float>::infinity()), -std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(FlushToZero(std::numeric_limits<float>::quiet_NaN())));
}

TEST(MultiplyFtz, FlushesOperandsAndResult) {
  EXPECT_EQ(Bits(MultiplyFtz(-0x1p-127f, 0x1p100f)), 0x80000000u);
  EXPECT_EQ(Bits(MultiplyFtz(0x1p-100f, 0x1p-27f)), 0u);
  EXPECT_EQ(MultiplyFtz(0x1p-100f, 0x1p-26f), 0x1p-126f);
}

TEST(MultiplyFtz, KeepsWhatRoundsUpToTheSmallestNormal) {
  // 2^-126 · (1 - 2^-24) lies half a subnormal step below the smallest normal: the tie goes up.
  EXPECT_EQ(MultiplyFtz(std::nextafter(0x1p-63f, 0.0f), 0x1p-63f), 0x1p-126f);
}

TEST(MultiplyFtz, MakesNanOfZeroTimesInfinity) {
  EXPECT_TRUE(std::isnan(MultiplyFtz(0x1p-149f, std::numeric_limits<float>::infinity())));
}

}  // namespace
}  // namespace quantd
