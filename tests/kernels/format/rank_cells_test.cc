#include "kernels/format/rank_cells.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/format/fp4_bnb.h"
#include "kernels/format/nf4.h"

namespace quantd {
namespace {

constexpr RankCells kNf4 = MakeRankCells<31, true>(kNf4Thresholds, [](size_t) { return false; });
constexpr RankCells kFp4Bnb = MakeRankCells<32, false>(kFp4BnbThresholds, [](size_t) { return false; });

uint32_t Rank(const RankCells& cells, uint32_t integer, int cell_shift) {
  return (integer + cells.words[integer >> cell_shift & 31]) >> kRankShift;
}
uint32_t SignedRank(float value) {
  const double integer = std::floor(std::clamp(double{value} * 0x1p31, -0x1p31, 0x1p31 - 1));
  return Rank(kNf4, static_cast<uint32_t>(static_cast<int32_t>(integer)), 27);
}
uint32_t MagnitudeRank(float value) {
  return Rank(kFp4Bnb, static_cast<uint32_t>(std::min(double{value} * 0x1p32, 0x1p32 - 1)), 28);
}

TEST(RankCells, SignedOnesRankAsTheCodecNearEveryThresholdAndFarFromThem) {
  for (const float threshold : kNf4Thresholds) {
    for (int ulps = -4; ulps <= 4; ++ulps) {
      const float value = std::bit_cast<float>(std::bit_cast<uint32_t>(threshold) + static_cast<uint32_t>(ulps));
      EXPECT_EQ(SignedRank(value), Nf4::Encode(value)) << value;
    }
  }
  for (int i = -100000; i <= 100000; ++i) {
    const float value = static_cast<float>(i) / 99999;
    ASSERT_EQ(SignedRank(value), Nf4::Encode(value)) << value;
  }
}

TEST(RankCells, MagnitudesRankAsTheirThresholdsDo) {
  for (const float threshold : kFp4BnbThresholds) {
    for (int ulps = -4; ulps <= 4; ++ulps) {
      const float value = std::bit_cast<float>(std::bit_cast<uint32_t>(threshold) + static_cast<uint32_t>(ulps));
      EXPECT_EQ(MagnitudeRank(value), CountBelow(kFp4BnbThresholds, value)) << value;
    }
  }
  for (int i = 0; i <= 100000; ++i) {
    const float value = static_cast<float>(i) / 99999;
    ASSERT_EQ(MagnitudeRank(value), CountBelow(kFp4BnbThresholds, value)) << value;
  }
}

}  // namespace
}  // namespace quantd
