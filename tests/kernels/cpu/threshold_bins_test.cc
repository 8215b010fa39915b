#include "kernels/cpu/threshold_bins.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/format/dynamic8_cells.h"
#include "kernels/format/fp4_bnb.h"
#include "kernels/format/nf4.h"
#include "kernels/format/thresholds.h"

namespace quantd {
namespace {

constexpr ThresholdTable kNf4Table = MakeThresholdTable<Nf4Curve>(kNf4Thresholds);
constexpr ThresholdTable kFp4Table = MakeThresholdTable<Fp4BnbCurve>(kFp4BnbThresholds);

// As kernels/cpu/simd_codecs-inl.h does it.
template <class Curve>
uint32_t RankByBin(const ThresholdTable& table, float value) {
  const float slope = std::fma(-(value * value), Curve::kBend, Curve::kSlope);
  const uint32_t bin = std::bit_cast<uint32_t>(std::fma(value, slope, kRoundingMagic));
  const uint32_t rank = bin - std::bit_cast<uint32_t>(kRoundingMagic) - static_cast<uint32_t>(Curve::kFirstBin);
  return rank + (value > table.threshold[bin & 15] ? 1 : 0);
}

void ExpectRanks(float value) {
  ASSERT_EQ(RankByBin<Nf4Curve>(kNf4Table, value), CountBelow(kNf4Thresholds, value)) << std::hexfloat << value;
  ASSERT_EQ(RankByBin<Nf4Curve>(kNf4Table, -value), CountBelow(kNf4Thresholds, -value)) << std::hexfloat << -value;
  ASSERT_EQ(RankByBin<Fp4BnbCurve>(kFp4Table, value), CountBelow(kFp4BnbThresholds, value)) << std::hexfloat << value;
}

void ExpectRanksAround(float value) {
  float below = value;
  float above = value;
  for (int ulp = 0; ulp < 100; ++ulp) {
    ExpectRanks(below);
    ExpectRanks(above);
    below = std::fabs(std::nextafter(below, 0.0f));
    above = std::min(std::nextafter(above, 2.0f), kBinnedMagnitude);
  }
}

TEST(ThresholdBins, RankExactlyAroundEveryThreshold) {
  for (const float threshold : kNf4Thresholds) ExpectRanksAround(std::fabs(threshold));
  for (const float threshold : kFp4BnbThresholds) ExpectRanksAround(threshold);
}

TEST(ThresholdBins, RankExactlyAlongTheWholeInterval) {
  for (float value = 0.0f; value <= kBinnedMagnitude; value += 0x1p-22f) ExpectRanks(value);
}

TEST(ThresholdBins, RankExactlyAtTheEnds) {
  ExpectRanks(0.0f);
  ExpectRanks(0x1p-149f);
  ExpectRanks(1.0f);
  ExpectRanks(kBinnedMagnitude);
}

uint32_t Dynamic8ByCell(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t magnitude = bits & 0x7fffffffu;
  const uint32_t cell = std::max(magnitude >> kDynamic8CellShift, kDynamic8FirstCell) - kDynamic8FirstCell;
  const bool negative = bits >> 31 != 0;
  const uint32_t entry = kDynamic8CellEntries[cell + (negative ? kDynamic8Cells : 0)];
  const uint32_t rank = (entry + (magnitude & kDynamic8CellMask)) >> kDynamic8RankShift;
  return negative ? 255 - rank : rank;
}

TEST(Dynamic8Cells, GiveTheCodeOfEveryValueAroundABoundary) {
  for (const float boundary : kDynamic8Boundaries) {
    for (float value = std::nextafter(std::nextafter(boundary, -2.0f), -2.0f); value <= boundary + 0x1p-22f;
         value = std::nextafter(value, 2.0f)) {
      ASSERT_EQ(Dynamic8ByCell(value), Dynamic8::Encode(value)) << std::hexfloat << value;
      if (value > boundary + 2 * std::fabs(boundary) * 0x1p-23f) break;
    }
  }
}

TEST(Dynamic8Cells, GiveTheCodeOfEveryValueBelowTwo) {
  for (uint32_t magnitude = 0; magnitude < 0x40000000u; magnitude += 97) {
    const float value = std::bit_cast<float>(magnitude);
    ASSERT_EQ(Dynamic8ByCell(value), Dynamic8::Encode(value)) << std::hexfloat << value;
    ASSERT_EQ(Dynamic8ByCell(-value), Dynamic8::Encode(-value)) << std::hexfloat << -value;
  }
}

}  // namespace
}  // namespace quantd
