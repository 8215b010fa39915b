#include "kernels/format/dynamic8.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "tests/support/golden.h"
#include "tests/support/reference_quantizer.h"

namespace quantd {
namespace {

TEST(Dynamic8Decode, EqualsTheLibrarysTable) {
  const testing::GoldenFile golden("bnb_double_quant");
  const auto& map = golden.Tensor("dynamic_map");
  ASSERT_EQ(map.bytes.size(), sizeof(kDynamic8LevelBits));
  EXPECT_EQ(std::memcmp(map.bytes.data(), kDynamic8LevelBits, sizeof(kDynamic8LevelBits)), 0);
}

TEST(Dynamic8Decode, EqualsTheTableOfItsFormula) {
  const auto table = testing::ReferenceDynamic8Table();
  ASSERT_EQ(table.size(), 256u);
  for (int code = 0; code < 256; ++code) EXPECT_EQ(Dynamic8::Decode(static_cast<uint8_t>(code)), table[code]) << code;
}

TEST(Dynamic8Encode, TakesTheEvenCodeOnEveryMidpoint) {
  for (uint32_t code = 0; code < 255; ++code) {
    const float lower = Dynamic8::Decode(static_cast<uint8_t>(code));
    const float upper = Dynamic8::Decode(static_cast<uint8_t>(code + 1));
    const float midpoint = (lower + upper) * 0.5f;
    EXPECT_EQ(Dynamic8::Encode(midpoint), code % 2 == 0 ? code : code + 1);
    EXPECT_EQ(Dynamic8::Encode(std::nextafter(midpoint, -2.0f)), code);
    EXPECT_EQ(Dynamic8::Encode(std::nextafter(midpoint, 2.0f)), code + 1);
  }
}

TEST(Dynamic8Encode, EqualsTheLibrarysWalk) {
  constexpr uint64_t kSeed = 20240601;
  std::mt19937_64 random(kSeed);
  for (int i = 0; i < 1'000'000; ++i) {
    const float magnitude =
        std::ldexp(static_cast<float>(random() % (1 << 24)) * 0x1p-24f, -static_cast<int>(random() % 24));
    const float value = random() % 2 == 0 ? magnitude : -magnitude;
    ASSERT_EQ(Dynamic8::Encode(value), testing::ReferenceDynamic8Encode(value))
        << std::hexfloat << value << ", seed " << kSeed;
  }
}

TEST(Dynamic8Encode, MakesCode0OfNanAndClampsBeyondItsRange) {
  EXPECT_EQ(Dynamic8::Encode(std::numeric_limits<float>::quiet_NaN()), 0u);
  EXPECT_EQ(Dynamic8::Encode(-2.0f), 0u);
  EXPECT_EQ(Dynamic8::Encode(2.0f), 255u);
  EXPECT_EQ(Dynamic8::Encode(0.0f), 127u);
  EXPECT_EQ(Dynamic8::Encode(-0.0f), 127u);
}

}  // namespace
}  // namespace quantd
