#include "tests/exhaustive/staircase.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "kernels/format/format_list.h"
#include "tests/support/golden.h"

namespace quantd::testing {
namespace {

constexpr uint32_t kInfinity = 0x7f800000;
constexpr uint32_t kFirstNan = kInfinity + 1;
constexpr uint32_t kSmallestNormal = 0x00800000;
constexpr uint32_t kMinusZero = 0x80000000;

__extension__ using Wide = unsigned __int128;

// significand · 2^exponent, exact.
struct Dyadic {
  uint64_t significand;
  int exponent;
};

int Compare(const Dyadic& a, const Dyadic& b) {
  if (a.significand == 0 || b.significand == 0) return (a.significand != 0) - (b.significand != 0);
  const int a_width = std::bit_width(a.significand) + a.exponent;
  const int b_width = std::bit_width(b.significand) + b.exponent;
  if (a_width != b_width) return a_width < b_width ? -1 : 1;
  const int lowest = std::min(a.exponent, b.exponent);  // less than 64 below the other: the widths are equal
  const Wide a_wide = static_cast<Wide>(a.significand) << (a.exponent - lowest);
  const Wide b_wide = static_cast<Wide>(b.significand) << (b.exponent - lowest);
  return a_wide < b_wide ? -1 : static_cast<int>(a_wide > b_wide);
}

// Of neighbours in a format.
Dyadic Midpoint(const Dyadic& a, const Dyadic& b) {
  const int lowest = std::min(a.exponent, b.exponent);
  return {(a.significand << (a.exponent - lowest)) + (b.significand << (b.exponent - lowest)), lowest - 1};
}

// A code without its sign as IEEE 754 reads it, infinity as the power of two that would come next.
struct FloatLayout {
  int mantissa_bits;
  int bias;

  Dyadic ValueOf(uint32_t code) const {
    const uint32_t exponent = code >> mantissa_bits;
    const uint32_t fraction = code & ((1u << mantissa_bits) - 1);
    return {exponent == 0 ? fraction : fraction + (1u << mantissa_bits),
            static_cast<int>(exponent == 0 ? 1 : exponent) - bias - mantissa_bits};
  }
};
constexpr FloatLayout kFloat32 = {23, 127};

// Bits of the lowest float32 magnitude above `bound`, or equal to it where that counts.
uint32_t FirstFrom(const Dyadic& bound, bool equal_counts) {
  uint32_t low = 0;
  uint32_t high = kInfinity;
  while (low < high) {
    const uint32_t middle = low + (high - low) / 2;
    const int order = Compare(kFloat32.ValueOf(middle), bound);
    if (order > 0 || (order == 0 && equal_counts)) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

// Bits of a value that float32 holds exactly.
uint32_t ExactBits(const Dyadic& value) { return FirstFrom(value, true); }

// Steps of one sign, `first` being the bits of a magnitude.
using Side = std::vector<Step>;

// Codes 0 to `last` of magnitudes, to nearest, a tie to the even code.
template <class ValueOfCode>
Side NearestEven(uint32_t last, ValueOfCode value_of) {
  Side side = {{0, 0}};
  for (uint32_t code = 1; code <= last; ++code) {
    side.push_back({FirstFrom(Midpoint(value_of(code - 1), value_of(code)), code % 2 == 0), code});
  }
  return side;
}

Staircase Joined(const Side& negative, const Side& positive) {
  Staircase stairs;
  uint32_t above = kMinusZero;  // lowest magnitude that is too large for the step
  for (size_t i = negative.size(); i-- > 0;) {
    stairs.push_back({kMinusZero - above, negative[i].code});
    above = negative[i].first;
  }
  for (const Step& step : positive) stairs.push_back({step.first + kMinusZero, step.code});
  return stairs;
}

struct SmallFloat {
  FloatLayout layout;
  int bits;
  uint32_t largest;  // code
  uint32_t beyond;   // code of what is too large, with ieee_overflow
  uint32_t nan;      // code without its sign
  bool nan_has_sign = true;
};

SmallFloat SmallFloatOf(Element element) {
  switch (element) {
    case Element::kFp8E4m3:
      return {{3, 7}, 8, 0x7e, 0x7f, 0x7f};
    case Element::kFp8E5m2:
      return {{2, 15}, 8, 0x7b, 0x7c, 0x7f};
    case Element::kFp4E2m1:
      return {{1, 1}, 4, 7, 7, 3};
    case Element::kFp4E3m0:
      return {{0, 3}, 4, 7, 7, 1};
    case Element::kFloat16:
      return {{10, 15}, 16, 0x7bff, 0x7c00, 0x7fff, false};
    default:
      return {{7, 127}, 16, 0x7f7f, 0x7f80, 0x7fff, false};
  }
}

Staircase OfSmallFloat(Element element, Rules rules) {
  const SmallFloat format = SmallFloatOf(element);
  const bool cast = InfoOf(element).kind == ElementKind::kCast;
  const uint32_t last = rules.ieee_overflow || cast ? format.beyond : format.largest;
  Side positive = NearestEven(last, [&](uint32_t code) { return format.layout.ValueOf(code); });
  const uint32_t sign = 1u << (format.bits - 1);
  Side negative;
  for (const Step& step : positive) negative.push_back({step.first, step.code | sign});
  if (rules.unsigned_zero) {
    negative.front().code = 0;
    negative.insert(negative.begin() + 1, {1, sign});
  }
  positive.push_back({kFirstNan, format.nan});
  negative.push_back({kFirstNan, format.nan | (format.nan_has_sign ? sign : 0)});
  return Joined(negative, positive);
}

Staircase OfInteger(int bits) {
  const uint32_t count = 1u << bits;
  const auto value_of = [](uint32_t code) { return Dyadic{code, 0}; };
  Side positive = NearestEven(count / 2 - 1, value_of);
  Side negative = NearestEven(count / 2, value_of);
  for (Step& step : negative) step.code = (count - step.code) % count;
  positive.push_back({kFirstNan, 0});
  negative.push_back({kFirstNan, 0});
  return Joined(negative, positive);
}

// As bitsandbytes' source has them, rounded to float32.
constexpr uint32_t kNf4Thresholds[] = {0xbf591cd9, 0xbf1c5270, 0xbeeb8480, 0xbeadea76, 0xbe703cec,
                                       0xbe0d38bc, 0xbd3a7871, 0x3d22faff, 0x3df64863, 0x3e5067e0,
                                       0x3e9582d4, 0x3ec753f9, 0x3f006d03, 0x3f248daf, 0x3f5c89d9};
constexpr uint32_t kFp4Thresholds[] = {0x3b2aaab9, 0x3db00000, 0x3e555555, 0x3e955555,
                                       0x3ed55556, 0x3f155550, 0x3f555555};
constexpr uint32_t kFp4Ranks[] = {0, 1, 6, 7, 4, 5, 2, 3};

Staircase OfNf4() {
  Staircase stairs = {{0, 0}};
  for (const uint32_t threshold : kNf4Thresholds) stairs.push_back({PlaceOf(threshold) + 1, stairs.back().code + 1});
  stairs.push_back({PlaceOf(kFirstNan), 0});
  return stairs;
}

Staircase OfFp4Bnb() {
  Side positive = {{0, 0}};
  Side negative = {{0, 0}, {1, 8}};
  for (uint32_t rank = 1; rank < 8; ++rank) {
    positive.push_back({kFp4Thresholds[rank - 1] + 1, kFp4Ranks[rank]});
    negative.push_back({kFp4Thresholds[rank - 1] + 1, kFp4Ranks[rank] | 8});
  }
  positive.push_back({kFirstNan, 0});
  negative.push_back({kFirstNan, 0});
  return Joined(negative, positive);
}

// bitsandbytes' own table.
std::vector<uint32_t> Dynamic8Levels() {
  const GoldenFile golden("bnb_double_quant");
  const auto bytes = golden.Tensor("dynamic_map").bytes;
  std::vector<uint32_t> levels(bytes.size() / sizeof(uint32_t));
  std::memcpy(levels.data(), bytes.data(), bytes.size());
  return levels;
}

Staircase OfDynamic8() {
  const std::vector<uint32_t> levels = Dynamic8Levels();
  Staircase stairs = {{0, 0}};
  for (uint32_t code = 1; code < levels.size(); ++code) {
    // The sum of two float32 is exact in float64 here: the exponents of neighbours are at most 20 apart.
    const double sum = static_cast<double>(std::bit_cast<float>(levels[code - 1])) + std::bit_cast<float>(levels[code]);
    const auto midpoint = static_cast<float>(sum / 2);
    stairs.push_back({PlaceOf(std::bit_cast<uint32_t>(midpoint)) + code % 2, code});
  }
  stairs.push_back({PlaceOf(kFirstNan), 0});
  return stairs;
}

std::vector<uint32_t> LevelsOfSmallFloat(Element element) {
  const SmallFloat format = SmallFloatOf(element);
  const uint32_t sign_code = 1u << (format.bits - 1);
  std::vector<uint32_t> levels;
  for (uint32_t code = 0; code < sign_code * 2; ++code) {
    const uint32_t magnitude = code & (sign_code - 1);
    uint32_t bits = ExactBits(format.layout.ValueOf(std::min(magnitude, format.largest)));
    if (magnitude > format.largest) {
      const uint32_t fraction = magnitude & ((1u << format.layout.mantissa_bits) - 1);
      bits = kInfinity | fraction << (23 - format.layout.mantissa_bits);
      // torch's 8-bit floats decode to quiet NaNs; the 16-bit ones are widened as they are.
      if (format.bits == 8 && fraction != 0) bits |= 0x400000;
    }
    levels.push_back(bits | (code >= sign_code ? kMinusZero : 0));
  }
  return levels;
}

std::vector<uint32_t> LevelsOfFloats(std::initializer_list<float> floats) {
  std::vector<uint32_t> levels;
  for (const float level : floats) levels.push_back(std::bit_cast<uint32_t>(level));
  return levels;
}

}  // namespace

Staircase StaircaseOf(Element element, Rules rules) {
  if (element == Element::kNf4) return OfNf4();
  if (element == Element::kFp4Bnb) return OfFp4Bnb();
  if (element == Element::kDynamic8) return OfDynamic8();
  if (InfoOf(element).kind == ElementKind::kInteger) return OfInteger(InfoOf(element).bits);
  return OfSmallFloat(element, rules);
}

Staircase SubnormalsFlushed(const Staircase& stairs) {
  const uint32_t first_flushed = PlaceOf(kMinusZero | kSmallestNormal) + 1;
  const uint32_t first_kept = PlaceOf(kSmallestNormal);
  Staircase flushed;
  std::ranges::copy_if(stairs, std::back_inserter(flushed),
                       [=](const Step& step) { return step.first < first_flushed; });
  flushed.push_back({first_flushed, CodeOf(stairs, kMinusZero)});
  flushed.push_back({PlaceOf(0), CodeOf(stairs, 0)});
  flushed.push_back({first_kept, CodeOf(stairs, kSmallestNormal)});
  std::ranges::copy_if(stairs, std::back_inserter(flushed), [=](const Step& step) { return step.first > first_kept; });
  return flushed;
}

uint32_t CodeOf(const Staircase& stairs, uint32_t bits) {
  return std::prev(std::ranges::upper_bound(stairs, PlaceOf(bits), {}, &Step::first))->code;
}

void FillCodes(const Staircase& stairs, uint32_t begin, std::span<uint16_t> codes) {
  auto step = std::prev(std::ranges::upper_bound(stairs, begin, {}, &Step::first));
  for (uint64_t i = 0; i < codes.size(); ++step) {
    const uint64_t next = std::next(step) == stairs.end() ? uint64_t{1} << 32 : std::next(step)->first;
    const uint64_t end = std::min<uint64_t>(next - begin, codes.size());
    std::fill(codes.begin() + static_cast<std::ptrdiff_t>(i), codes.begin() + static_cast<std::ptrdiff_t>(end),
              static_cast<uint16_t>(step->code));
    i = end;
  }
}

std::vector<uint32_t> LevelsOf(Element element) {
  switch (element) {
    case Element::kNf4:
      return LevelsOfFloats({-1.0f, -.6961928009986877f, -.5250730514526367f, -.39491748809814453f,
                             -.28444138169288635f, -.18477343022823334f, -.09105003625154495f, 0.0f,
                             .07958029955625534f, .16093020141124725f, .24611230194568634f, .33791524171829224f,
                             .44070982933044434f, .5626170039176941f, .7229568362236023f, 1.0f});
    case Element::kFp4Bnb:
      return LevelsOfFloats({0.0f, .005208333333f, .66666667f, 1.0f, .33333333f, .5f, .16666667f, .25f, -0.0f,
                             -.005208333333f, -.66666667f, -1.0f, -.33333333f, -.5f, -.16666667f, -.25f});
    case Element::kDynamic8:
      return Dynamic8Levels();
    default:
      break;
  }
  if (InfoOf(element).kind != ElementKind::kInteger) return LevelsOfSmallFloat(element);
  const int count = 1 << InfoOf(element).bits;
  std::vector<uint32_t> levels;
  for (int code = 0; code < count; ++code) {
    levels.push_back(std::bit_cast<uint32_t>(static_cast<float>(code < count / 2 ? code : code - count)));
  }
  return levels;
}

}  // namespace quantd::testing
