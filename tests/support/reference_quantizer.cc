#include "tests/support/reference_quantizer.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "tests/support/golden.h"

namespace quantd::testing {
namespace {

constexpr float kMostNegative = -std::numeric_limits<float>::max();

float FromBits(uint32_t bits) { return std::bit_cast<float>(bits); }

float Flush(float value) { return std::fpclassify(value) == FP_SUBNORMAL ? std::copysign(0.0f, value) : value; }

// The product of two floats is exact in double, so this rounds once.
float Product(float a, float b) { return static_cast<float>(static_cast<double>(a) * static_cast<double>(b)); }

float FlushedProduct(float a, float b) { return Flush(Product(Flush(a), Flush(b))); }

bool InBitSet(const std::vector<std::byte>& sets, int set, uint32_t mantissa) {
  uint32_t word;
  std::memcpy(&word, sets.data() + (size_t{1} << 20) * set + mantissa / 32 * sizeof(word), sizeof(word));
  return (word >> mantissa % 32 & 1) != 0;
}

constexpr uint32_t kNf4ThresholdBits[] = {0xbf591cd9, 0xbf1c5270, 0xbeeb8480, 0xbeadea76, 0xbe703cec,
                                          0xbe0d38bc, 0xbd3a7871, 0x3d22faff, 0x3df64863, 0x3e5067e0,
                                          0x3e9582d4, 0x3ec753f9, 0x3f006d03, 0x3f248daf, 0x3f5c89d9};
constexpr uint32_t kFp4ThresholdBits[] = {0x3b2aaab9, 0x3db00000, 0x3e555555, 0x3e955555,
                                          0x3ed55556, 0x3f155550, 0x3f555555};
constexpr int kFp4CodeOfRank[] = {0, 1, 6, 7, 4, 5, 2, 3};
constexpr double kNf4Values[] = {-1,
                                 -.6961928009986877,
                                 -.5250730514526367,
                                 -.39491748809814453,
                                 -.28444138169288635,
                                 -.18477343022823334,
                                 -.09105003625154495,
                                 0,
                                 .07958029955625534,
                                 .16093020141124725,
                                 .24611230194568634,
                                 .33791524171829224,
                                 .44070982933044434,
                                 .5626170039176941,
                                 .7229568362236023,
                                 1};
constexpr double kFp4Values[] = {0, .005208333333, .66666667, 1, .33333333, .5, .16666667, .25};

int EncodeNf4(float y) {
  return static_cast<int>(
      std::ranges::count_if(kNf4ThresholdBits, [y](uint32_t threshold) { return y > FromBits(threshold); }));
}

int EncodeFp4(float y) {
  const auto rank =
      std::ranges::count_if(kFp4ThresholdBits, [y](uint32_t threshold) { return std::fabs(y) > FromBits(threshold); });
  return kFp4CodeOfRank[rank] + (y < 0 ? 8 : 0);
}

// The GPU's fmaxf over the block with its padding, from the most negative number up. It passes over signalling NaNs
// too, which std::fmax need not.
float LibraryAbsmax(std::span<const float> block) {
  float absmax = kMostNegative;
  for (const float value : block) {
    const float magnitude = Flush(std::fabs(value));
    if (magnitude > absmax) absmax = magnitude;
  }
  return absmax;
}

std::vector<float> Padded(std::span<const float> values, uint64_t begin, uint32_t block_size) {
  std::vector<float> block(block_size, 0.0f);
  std::ranges::copy(values.subspan(begin, std::min<uint64_t>(block_size, values.size() - begin)), block.begin());
  return block;
}

// One code for each value and padding value of the block, which gets its absmax appended.
std::vector<int> EncodeBlock(const std::string& format, ReferenceRules rules, std::span<const float> block,
                             std::vector<float>& absmax) {
  std::vector<int> codes;
  if (rules == ReferenceRules::kStrict) {
    float largest = 0;
    for (const float value : block) largest = std::max(largest, std::fabs(value));
    absmax.push_back(largest);
    for (const float value : block) {
      const float y = largest == 0 ? 0.0f : value / largest;
      codes.push_back(ReferenceEncode4Bit(format, y));
    }
    return codes;
  }
  absmax.push_back(LibraryAbsmax(block));
  const float inverse = ReferenceReciprocal(absmax.back());
  for (const float value : block) {
    const float y = FlushedProduct(value, inverse);
    codes.push_back(ReferenceEncode4Bit(format, y));
  }
  return codes;
}

// The nearest number with `mantissa_bits` after the leading one and exponents from `exponent_min`, ties to even.
double RoundTo(double value, int mantissa_bits, int exponent_min) {
  if (value == 0) return value;
  const int exponent = std::max(std::ilogb(value), exponent_min);
  const double quantum = std::ldexp(1.0, exponent - mantissa_bits);
  return std::nearbyint(value / quantum) * quantum;
}

}  // namespace

float ReferenceReciprocal(float value) {
  static const std::vector<std::byte> bit_sets = ReadGoldenXz("rcp_approx_ftz_f32.bin.xz");
  value = Flush(value);
  if (std::isnan(value)) return FromBits(0x7fffffff);
  if (value == 0) return std::copysign(std::numeric_limits<float>::infinity(), value);
  float result = 1.0f / value;
  const uint32_t mantissa = std::bit_cast<uint32_t>(value) & 0x7fffff;
  if (std::isfinite(value)) {
    if (InBitSet(bit_sets, 0, mantissa)) result = FromBits(std::bit_cast<uint32_t>(result) + 1);
    if (InBitSet(bit_sets, 1, mantissa)) result = FromBits(std::bit_cast<uint32_t>(result) - 1);
  }
  return Flush(result);
}

uint8_t ReferenceEncode4Bit(const std::string& format, float y) {
  return static_cast<uint8_t>(format == "nf4" ? EncodeNf4(y) : EncodeFp4(y));
}

float ReferenceDecode4Bit(const std::string& format, uint8_t code) {
  if (format == "nf4") return static_cast<float>(kNf4Values[code]);
  const auto magnitude = static_cast<float>(kFp4Values[code % 8]);
  return code >= 8 ? -magnitude : magnitude;
}

ReferenceBlocks ReferenceQuantize4Bit(const std::string& format, ReferenceRules rules, uint32_t block_size,
                                      std::span<const float> values) {
  ReferenceBlocks result;
  std::vector<int> all;
  for (uint64_t begin = 0; begin < values.size(); begin += block_size) {
    const std::vector<int> codes = EncodeBlock(format, rules, Padded(values, begin, block_size), result.absmax);
    all.insert(all.end(), codes.begin(), codes.end());
  }
  for (uint64_t i = 0; i < values.size(); i += 2) {
    result.codes.push_back(static_cast<uint8_t>(all[i] * 16 + all[i + 1]));
  }
  return result;
}

std::vector<float> ReferenceDequantize4Bit(const std::string& format, ReferenceRules rules, uint32_t block_size,
                                           const ReferenceBlocks& blocks, uint64_t element_count) {
  std::vector<float> values;
  for (uint64_t i = 0; i < element_count; ++i) {
    const auto code = static_cast<uint8_t>(i % 2 == 0 ? blocks.codes[i / 2] / 16 : blocks.codes[i / 2] % 16);
    const float level = ReferenceDecode4Bit(format, code);
    const float scale = blocks.absmax[i / block_size];
    const float value = rules == ReferenceRules::kStrict ? Product(level, scale) : FlushedProduct(level, scale);
    values.push_back(std::isnan(value) ? FromBits(0x7fffffff) : value);
  }
  return values;
}

std::span<const float> ReferenceDynamic8Table() {
  static const std::vector<float> table = [] {
    std::vector<float> values = {0, 1};
    for (int i = 0; i < 7; ++i) {
      const int n = 1 << i;
      const float step = (1.0f - 0.1f) / static_cast<float>(n);
      std::vector<float> edges;
      for (int k = 0; k <= n; ++k) {
        edges.push_back(k < (n + 1) / 2 ? std::fma(step, static_cast<float>(k), 0.1f)
                                        : std::fma(-step, static_cast<float>(n - k), 1.0f));
      }
      for (int k = 0; k < n; ++k) {
        const float mean = (edges[k] + edges[k + 1]) / 2;
        const float value = mean * static_cast<float>(std::pow(10.0, i - 6));
        values.push_back(value);
        values.push_back(-value);
      }
    }
    std::ranges::sort(values);
    return values;
  }();
  return table;
}

uint8_t ReferenceDynamic8Encode(float y) {
  const auto table = ReferenceDynamic8Table();
  int pivot = 127;
  int low = 0;
  int high = 255;
  for (int step = 64; step > 0; step /= 2) {
    if (y > table[pivot]) {
      low = pivot;
      pivot += step;
    } else {
      high = pivot;
      pivot -= step;
    }
  }
  if (y > table[pivot]) return static_cast<uint8_t>(y > (table[high] + table[pivot]) * 0.5f ? high : pivot);
  return static_cast<uint8_t>(y < (table[low] + table[pivot]) * 0.5f ? low : pivot);
}

ReferenceBlocks ReferenceQuantizeDynamic8(uint32_t block_size, std::span<const float> values) {
  ReferenceBlocks result;
  for (uint64_t begin = 0; begin < values.size(); begin += block_size) {
    const std::vector<float> block = Padded(values, begin, block_size);
    result.absmax.push_back(LibraryAbsmax(block));
    const float inverse = ReferenceReciprocal(result.absmax.back());
    for (uint64_t i = begin; i < std::min<uint64_t>(begin + block_size, values.size()); ++i) {
      const float y = FlushedProduct(values[i], inverse);
      result.codes.push_back(std::isnan(y) ? uint8_t{0} : ReferenceDynamic8Encode(y));
    }
  }
  return result;
}

ReferenceBlocks ReferenceQuantizeScales(std::span<const float> absmax, float offset) {
  std::vector<float> differences;
  for (const float scale : absmax) differences.push_back(scale - offset);
  return ReferenceQuantizeDynamic8(256, differences);
}

std::vector<float> ReferenceDequantizeScales(const ReferenceBlocks& nested, float offset) {
  std::vector<float> absmax;
  for (uint64_t i = 0; i < nested.codes.size(); ++i) {
    const float difference = FlushedProduct(ReferenceDynamic8Table()[nested.codes[i]], nested.absmax[i / 256]);
    absmax.push_back(static_cast<float>(static_cast<double>(difference) + static_cast<double>(offset)));
  }
  return absmax;
}

uint16_t ReferenceToFloat16(float value) {
  if (std::isnan(value)) return 0x7fff;
  const int sign = std::signbit(value) ? 0x8000 : 0;
  const double magnitude = std::isinf(value) ? HUGE_VAL : RoundTo(std::fabs(static_cast<double>(value)), 10, -14);
  if (magnitude > 65504) return static_cast<uint16_t>(sign | 0x7c00);
  if (magnitude < 0x1p-14) return static_cast<uint16_t>(sign | static_cast<int>(magnitude * 0x1p24));
  const int exponent = std::ilogb(magnitude);
  const int mantissa = static_cast<int>(std::ldexp(magnitude, 10 - exponent)) - 1024;
  return static_cast<uint16_t>(sign | (exponent + 15) << 10 | mantissa);
}

uint16_t ReferenceToBFloat16(float value) {
  if (std::isnan(value)) return 0x7fff;
  const int sign = std::signbit(value) ? 0x8000 : 0;
  const double magnitude = std::isinf(value) ? HUGE_VAL : RoundTo(std::fabs(static_cast<double>(value)), 7, -126);
  if (magnitude >= 0x1p128) return static_cast<uint16_t>(sign | 0x7f80);
  if (magnitude < 0x1p-126) return static_cast<uint16_t>(sign | static_cast<int>(std::ldexp(magnitude, 133)));
  const int exponent = std::ilogb(magnitude);
  const int mantissa = static_cast<int>(std::ldexp(magnitude, 7 - exponent)) - 128;
  return static_cast<uint16_t>(sign | (exponent + 127) << 7 | mantissa);
}

float ReferenceFromFloat16(uint16_t half) {
  const int exponent = half >> 10 & 31;
  const int mantissa = half & 1023;
  double magnitude = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  if (exponent == 31) magnitude = mantissa == 0 ? HUGE_VAL : std::nan("");
  return static_cast<float>(std::copysign(magnitude, (half & 0x8000) != 0 ? -1.0 : 1.0));
}

float ReferenceFromBFloat16(uint16_t brain) {
  const int exponent = brain >> 7 & 255;
  const int mantissa = brain & 127;
  double magnitude = exponent == 0 ? std::ldexp(mantissa, -133) : std::ldexp(128 + mantissa, exponent - 134);
  if (exponent == 255) magnitude = mantissa == 0 ? HUGE_VAL : std::nan("");
  return static_cast<float>(std::copysign(magnitude, (brain & 0x8000) != 0 ? -1.0 : 1.0));
}

}  // namespace quantd::testing
