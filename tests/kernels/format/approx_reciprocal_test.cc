#include "kernels/format/approx_reciprocal.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "tests/support/reference_quantizer.h"

namespace quantd {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

float FromBits(uint32_t bits) { return std::bit_cast<float>(bits); }
uint32_t Bits(float value) { return std::bit_cast<uint32_t>(value); }

class ApproxReciprocalExponent : public ::testing::TestWithParam<uint32_t> {};

TEST_P(ApproxReciprocalExponent, EqualsTheMeasuredInstructionAtEveryMantissa) {
  for (uint32_t mantissa = 0; mantissa < 1u << 23; ++mantissa) {
    const float value = FromBits(GetParam() << 23 | mantissa);
    ASSERT_EQ(Bits(ApproxReciprocal(value)), Bits(testing::ReferenceReciprocal(value))) << std::hexfloat << value;
  }
}

// Smallest normal, ordinary, the last with a normal result, and those whose results are flushed; one negative.
INSTANTIATE_TEST_SUITE_P(Exponents, ApproxReciprocalExponent, ::testing::Values(1, 127, 252, 253, 254, 256 + 130));

TEST(ApproxReciprocal, IsAnInfinityOfTheSameSignForZeroAndSubnormals) {
  EXPECT_EQ(ApproxReciprocal(0.0f), kInfinity);
  EXPECT_EQ(ApproxReciprocal(-0.0f), -kInfinity);
  EXPECT_EQ(ApproxReciprocal(0x1p-149f), kInfinity);
  EXPECT_EQ(ApproxReciprocal(FromBits(0x807fffff)), -kInfinity);
}

TEST(ApproxReciprocal, IsAZeroOfTheSameSignForInfinityAndAbove2ToThe126) {
  EXPECT_EQ(Bits(ApproxReciprocal(kInfinity)), 0u);
  EXPECT_EQ(Bits(ApproxReciprocal(-kInfinity)), 0x80000000u);
  EXPECT_EQ(ApproxReciprocal(0x1p126f), 0x1p-126f);
  EXPECT_EQ(Bits(ApproxReciprocal(FromBits(0x7e800001))), 0u);
  EXPECT_EQ(Bits(ApproxReciprocal(-std::numeric_limits<float>::max())), 0x80000000u);
}

TEST(ApproxReciprocal, IsTheCanonicalNanForAnyNan) {
  for (const uint32_t bits : {0x7f800001u, 0x7fc00000u, 0xffffffffu}) {
    EXPECT_EQ(Bits(ApproxReciprocal(FromBits(bits))), 0x7fffffffu);
  }
}

}  // namespace
}  // namespace quantd
