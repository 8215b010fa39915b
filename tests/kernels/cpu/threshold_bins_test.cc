#include "kernels/cpu/threshold_bins.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/format/fp4_bnb.h"
#include "kernels/format/nf4.h"
#include "kernels/format/thresholds.h"

namespace quantd {
namespace {

constexpr ThresholdBins kNf4Bins = MakeThresholdBins(kNf4Thresholds);
constexpr ThresholdBins kFp4Bins = MakeThresholdBins(kFp4BnbThresholds);

uint32_t CountByBins(const ThresholdBins& bins, float value) {
  const uint32_t bin = BinOf(value);
  return bins.rank_below[bin] + (value > bins.threshold[bin] ? 1 : 0);
}

void ExpectCounts(float value) {
  ASSERT_EQ(CountByBins(kNf4Bins, value), CountBelow(kNf4Thresholds, value)) << std::hexfloat << value;
  ASSERT_EQ(CountByBins(kFp4Bins, std::fabs(value)), CountBelow(kFp4BnbThresholds, std::fabs(value)))
      << std::hexfloat << value;
}

void ExpectCountsAround(float value) {
  float below = value;
  float above = value;
  for (int ulp = 0; ulp < 100 && std::fabs(value) <= 1; ++ulp) {
    ExpectCounts(below);
    ExpectCounts(above);
    below = std::nextafter(below, -1.0f);
    above = std::nextafter(above, 1.0f);
  }
}

TEST(ThresholdBins, CountExactlyAroundEveryThreshold) {
  for (const float threshold : kNf4Thresholds) ExpectCountsAround(threshold);
  for (const float threshold : kFp4BnbThresholds) ExpectCountsAround(threshold);
}

TEST(ThresholdBins, CountExactlyAroundEveryBinsEdge) {
  for (int edge = -15; edge <= 15; ++edge) ExpectCountsAround((static_cast<float>(edge) + 0.5f) / kBinsPerUnit);
}

TEST(ThresholdBins, CountExactlyAlongTheWholeInterval) {
  for (float value = -1.0f; value <= 1.0f; value += 0x1p-20f) ExpectCounts(value);
}

TEST(ThresholdBins, CountExactlyAnUlpBeyondOne) {
  ExpectCounts(std::nextafter(1.0f, 2.0f));
  ExpectCounts(std::nextafter(-1.0f, -2.0f));
}

TEST(ThresholdBins, NeverFallWhileTheValueRises) {
  uint32_t last = (BinOf(-1.0f) + 16) & 31;
  for (float value = -1.0f; value <= 1.0f; value += 0x1p-20f) {
    const uint32_t bin = (BinOf(value) + 16) & 31;
    ASSERT_GE(bin, last) << value;
    last = bin;
  }
}

}  // namespace
}  // namespace quantd
