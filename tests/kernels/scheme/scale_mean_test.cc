#include "kernels/scheme/scale_mean.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

namespace quantd {
namespace {

void Add(ScaleMean& mean, const std::vector<float>& scales) {
  mean.AddNestedBlock(reinterpret_cast<const std::byte*>(scales.data()), scales.size());
}

TEST(ScaleMean, OfNothingIsZero) { EXPECT_EQ(ScaleMean().Mean(), 0.0f); }

TEST(ScaleMean, DividesTheSumByTheCount) {
  ScaleMean mean;
  Add(mean, {1, 2, 3});
  Add(mean, {10});
  EXPECT_EQ(mean.Mean(), 4.0f);
}

TEST(ScaleMean, SumsEveryNestedBlockOnItsOwn) {
  // In float64, 2^53 + 1 + 1 from left to right is 2^53, and 2^53 + (1 + 1) is not; 2^53 - 2^53 leaves the difference.
  ScaleMean together;
  Add(together, {0x1p53f, 1, 1});
  Add(together, {-0x1p53f});
  EXPECT_EQ(together.Mean(), 0.0f);
  ScaleMean apart;
  Add(apart, {0x1p53f});
  Add(apart, {1, 1});
  Add(apart, {-0x1p53f, 0});
  EXPECT_EQ(apart.Mean(), 0.4f);
}

TEST(ScaleMean, ReadsUnalignedMemory) {
  std::vector<std::byte> memory(2 * sizeof(float) + 1);
  const float scales[] = {3, 5};
  std::memcpy(memory.data() + 1, scales, sizeof(scales));
  ScaleMean mean;
  mean.AddNestedBlock(memory.data() + 1, 2);
  EXPECT_EQ(mean.Mean(), 4.0f);
}

TEST(ScaleMean, IsOfTheRightMagnitudeWhereFloat32WouldDrift) {
  ScaleMean mean;
  for (int i = 0; i < 4096; ++i) Add(mean, std::vector<float>(256, 0.1f));
  EXPECT_EQ(mean.Mean(), 0.1f);
}

}  // namespace
}  // namespace quantd
