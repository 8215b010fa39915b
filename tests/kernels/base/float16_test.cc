#include "kernels/base/float16.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "tests/support/reference_quantizer.h"

namespace quantd {
namespace {

uint32_t Bits(float value) { return std::bit_cast<uint32_t>(value); }

// Every float whose low mantissa bits are near a rounding boundary of a 16-bit type, for each upper half.
template <class Function>
void ForEachFloatNearBoundaries(Function function) {
  for (uint32_t upper = 0; upper < 0x80000; ++upper) {
    for (const uint32_t lower : {0x0000u, 0x0001u, 0x0fffu, 0x1000u, 0x1001u, 0x1fffu}) {
      function(std::bit_cast<float>(upper << 13 | lower));
    }
  }
}

TEST(Float16, WidensEveryPattern) {
  for (uint32_t half = 0; half <= 0xffff; ++half) {
    const float expected = testing::ReferenceFromFloat16(static_cast<uint16_t>(half));
    const float actual = Float16ToFloat32(static_cast<uint16_t>(half));
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(actual)) << half;
    } else {
      ASSERT_EQ(Bits(actual), Bits(expected)) << half;
    }
  }
}

TEST(Float16, RoundsToNearestEven) {
  ForEachFloatNearBoundaries(
      [](float value) { ASSERT_EQ(Float32ToFloat16(value), testing::ReferenceToFloat16(value)) << Bits(value); });
}

TEST(Float16, ReturnsEveryPattern) {
  for (uint32_t half = 0; half <= 0xffff; ++half) {
    const float value = Float16ToFloat32(static_cast<uint16_t>(half));
    ASSERT_EQ(Float32ToFloat16(value), std::isnan(value) ? kCanonicalNan16 : half);
  }
}

TEST(Float16, KeepsSubnormalsAndTheirTies) {
  EXPECT_EQ(Float32ToFloat16(0x1p-24f), 0x0001);
  EXPECT_EQ(Float32ToFloat16(0x1p-25f), 0x0000);
  EXPECT_EQ(Float32ToFloat16(0x1.8p-24f), 0x0002);
  EXPECT_EQ(Float32ToFloat16(-0x1p-24f), 0x8001);
}

TEST(Float16, OverflowsToInfinityFromHalfAStepAboveTheLargest) {
  EXPECT_EQ(Float32ToFloat16(65519.996f), 0x7bff);
  EXPECT_EQ(Float32ToFloat16(65520.0f), 0x7c00);
}

TEST(BFloat16, WidensEveryPattern) {
  for (uint32_t brain = 0; brain <= 0xffff; ++brain) {
    ASSERT_EQ(Bits(BFloat16ToFloat32(static_cast<uint16_t>(brain))), brain << 16);
  }
}

TEST(BFloat16, RoundsToNearestEven) {
  for (uint32_t upper = 0; upper <= 0xffff; ++upper) {
    for (const uint32_t lower : {0x0000u, 0x0001u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
      const auto value = std::bit_cast<float>(upper << 16 | lower);
      ASSERT_EQ(Float32ToBFloat16(value), testing::ReferenceToBFloat16(value)) << Bits(value);
    }
  }
}

TEST(BFloat16, KeepsSubnormals) { EXPECT_EQ(Float32ToBFloat16(std::bit_cast<float>(0x00018000u)), 0x0002); }

TEST(Float16AndBFloat16, MakeTheCanonicalNanOfAnyNan) {
  for (const uint32_t bits : {0x7f800001u, 0x7fc00000u, 0xffc00000u, 0xffffffffu}) {
    EXPECT_EQ(Float32ToFloat16(std::bit_cast<float>(bits)), 0x7fff);
    EXPECT_EQ(Float32ToBFloat16(std::bit_cast<float>(bits)), 0x7fff);
  }
}

}  // namespace
}  // namespace quantd
