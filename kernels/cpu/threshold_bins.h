// Codes by table: a value's bin, and the one threshold that may lie in it.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace quantd {

// Adding it to a float of magnitude below 2^21 rounds that to an integer, which the low bits of the sum then hold.
inline constexpr float kRoundingMagic = 0x1.8p23f;
// Bins are narrower than the narrowest gap between two thresholds of a codec, and there are at most 31 of them over
// [-1, 1]: 15.49 and a little rounds to 15.
inline constexpr float kBinsPerUnit = 15.49f;

// Bin of a value in [-1, 1] or an ulp beyond, modulo 32. It never falls when the value rises from -1 to 1, and that is
// all that the tables need to be exact.
constexpr uint32_t BinOf(float value) { return std::bit_cast<uint32_t>(value * kBinsPerUnit + kRoundingMagic) & 31; }

// Number of thresholds below `value` = rank_below[bin] + (value > threshold[bin]).
struct ThresholdBins {
  alignas(64) std::array<uint32_t, 32> rank_below{};
  alignas(64) std::array<float, 32> threshold{};
};

template <size_t kCount>
consteval ThresholdBins MakeThresholdBins(const float (&thresholds)[kCount]) {
  ThresholdBins bins;
  bins.threshold.fill(std::numeric_limits<float>::infinity());
  // From the bin of -16 on, upwards.
  for (uint32_t step = 0; step < 32; ++step) {
    const uint32_t bin = (step + 16) & 31;
    for (const float threshold : thresholds) {
      const uint32_t threshold_step = (BinOf(threshold) + 16) & 31;
      if (threshold_step < step) ++bins.rank_below[bin];
      if (threshold_step != step) continue;
      if (bins.threshold[bin] != std::numeric_limits<float>::infinity()) throw "two thresholds in one bin";
      bins.threshold[bin] = threshold;
    }
  }
  return bins;
}

}  // namespace quantd
