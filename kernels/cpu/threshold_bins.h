// Ranks by table: a curve puts every threshold of a codec into a bin of its own, so a value is above as many thresholds
// as its bin says, and perhaps one more.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace quantd {

// The bin of a value is value · (kSlope - kBend · value²), rounded. Chosen so that the 7 thresholds of NF4 below 0 lie
// in the bins -7 to -1 and the 8 above in 0 to 7, the magnitudes' thresholds of bitsandbytes' FP4 in 0 to 6.
struct Nf4Curve {
  static constexpr float kSlope = 11.75f;
  static constexpr float kBend = 4.3f;
  static constexpr int kFirstBin = -7;
};
struct Fp4BnbCurve {
  static constexpr float kSlope = 10.0f;
  static constexpr float kBend = 4.0f;
  static constexpr int kFirstBin = 0;
};

// Up to this magnitude a value beyond the last threshold keeps the last bin, or gets an empty one.
inline constexpr float kBinnedMagnitude = 1.001f;

// Adding it to a float of magnitude below 2^21 rounds that to an integer, which the low bits of the sum then hold.
inline constexpr float kRoundingMagic = 0x1.8p23f;

// By bits 0 to 3 of a bin: the threshold in it. Entry 8 repeats entry 0, so that each half has the bin 0.
struct ThresholdTable {
  alignas(64) std::array<float, 16> threshold{};
};

template <class Curve, size_t kCount>
consteval ThresholdTable MakeThresholdTable(const float (&thresholds)[kCount]) {
  ThresholdTable table;
  table.threshold.fill(std::numeric_limits<float>::infinity());
  for (size_t k = 0; k < kCount; ++k) {
    const double value = thresholds[k];
    const double curve = value * (double{Curve::kSlope} - double{Curve::kBend} * value * value);
    const int bin = Curve::kFirstBin + static_cast<int>(k);
    // Far enough from the bin's edges that how the curve is rounded does not matter.
    if (curve < bin - 0.49 || curve > bin + 0.49) throw "a threshold is not in its bin";
    table.threshold[static_cast<size_t>(bin) & 15] = thresholds[k];
  }
  table.threshold[8] = table.threshold[0];
  return table;
}

}  // namespace quantd
