#include "tests/support/reference_elements.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <ranges>

#include "tests/support/reference_arithmetic.h"
#include "tests/support/reference_quantizer.h"

namespace quantd::testing {
namespace {

// A sign bit, then an exponent and a mantissa, as IEEE has them.
struct FloatFormat {
  int exponent_bits;
  int mantissa_bits;
  int bias;
  uint32_t largest_code;  // the code of the largest finite value, without sign
  uint32_t nan_code;      // without sign; 0: the format has none
  bool nan_has_sign;

  uint32_t sign_bit() const { return 1u << (exponent_bits + mantissa_bits); }
};

const FloatFormat& FormatOf(const std::string& element) {
  static const std::map<std::string, FloatFormat> formats = {
      {"fp4_e2m1", {2, 1, 1, 7, 0, false}},         {"fp4_e3m0", {3, 0, 3, 7, 0, false}},
      {"fp8_e4m3", {4, 3, 7, 0x7e, 0x7f, true}},    {"fp8_e5m2", {5, 2, 15, 0x7b, 0x7f, true}},
      {"bf16", {8, 7, 127, 0x7f7f, 0x7fff, false}}, {"fp16", {5, 10, 15, 0x7bff, 0x7fff, false}},
  };
  return formats.at(element);
}

bool IsFloat(const std::string& element) { return !IsInteger(element) && !IsNormalized(element); }

// As if no exponent stood for infinity and NaN, so that the code after the largest has the value that rounding needs.
double MagnitudeOf(const FloatFormat& format, uint32_t code) {
  const int exponent = static_cast<int>(code >> format.mantissa_bits);
  const int mantissa = static_cast<int>(code) & ((1 << format.mantissa_bits) - 1);
  const int leading = exponent == 0 ? 0 : 1 << format.mantissa_bits;
  return std::ldexp(leading + mantissa, std::max(exponent, 1) - format.bias - format.mantissa_bits);
}

uint32_t EncodeFloat(const FloatFormat& format, float y, bool saturate) {
  const uint32_t sign = std::signbit(y) ? format.sign_bit() : 0;
  if (std::isnan(y)) return format.nan_code == 0 ? 0 : format.nan_code | (format.nan_has_sign ? sign : 0);
  const bool has_overflow = !saturate && format.nan_code != 0;
  const uint32_t top = format.largest_code + (has_overflow ? 1 : 0);
  const auto magnitude = static_cast<double>(std::fabs(y));
  const auto next_is_nearer = [&](uint32_t code) {
    const double middle = (MagnitudeOf(format, code) + MagnitudeOf(format, code + 1)) / 2;
    return magnitude > middle || (magnitude == middle && code % 2 == 1);
  };
  const auto codes = std::views::iota(uint32_t{0}, top);
  return sign | static_cast<uint32_t>(std::ranges::partition_point(codes, next_is_nearer) - codes.begin());
}

float DecodeFloat(const FloatFormat& format, uint32_t code) {
  const uint32_t sign = (code & format.sign_bit()) != 0 ? 0x80000000u : 0;
  const uint32_t unsigned_code = code & ~format.sign_bit();
  if (unsigned_code <= format.largest_code || format.nan_code == 0) {
    const auto magnitude = static_cast<float>(MagnitudeOf(format, unsigned_code));
    return sign != 0 ? -magnitude : magnitude;
  }
  const uint32_t mantissa = unsigned_code & ((1u << format.mantissa_bits) - 1);
  if (mantissa == 0) return sign != 0 ? -kInfinity : kInfinity;
  // A NaN keeps its mantissa and becomes quiet.
  return std::bit_cast<float>(sign | 0x7fc00000u | mantissa << (23 - format.mantissa_bits));
}

std::string BitsandbytesName(const std::string& element) { return element == "nf4" ? "nf4" : "fp4"; }

}  // namespace

int BitsOf(const std::string& element) {
  if (IsInteger(element)) return element.back() - '0';
  if (element == "dynamic8") return 8;
  if (IsNormalized(element)) return 4;
  const FloatFormat& format = FormatOf(element);
  return 1 + format.exponent_bits + format.mantissa_bits;
}

bool IsInteger(const std::string& element) { return element.starts_with("int"); }

bool IsNormalized(const std::string& element) {
  return element == "nf4" || element == "fp4_bnb" || element == "dynamic8";
}

bool HasNan(const std::string& element) { return IsFloat(element) && FormatOf(element).nan_code != 0; }

float LargestOf(const std::string& element) {
  if (IsInteger(element)) return static_cast<float>((1 << (BitsOf(element) - 1)) - 1);
  if (IsNormalized(element)) return 1;
  const FloatFormat& format = FormatOf(element);
  return static_cast<float>(MagnitudeOf(format, format.largest_code));
}

uint32_t EncodeElement(const std::string& element, float y, bool saturate) {
  if (element == "dynamic8") return std::isnan(y) ? 0 : ReferenceDynamic8Encode(y);
  if (IsNormalized(element)) return ReferenceEncode4Bit(BitsandbytesName(element), y);
  return EncodeFloat(FormatOf(element), y, saturate);
}

float DecodeElement(const std::string& element, uint32_t code) {
  if (element == "dynamic8") return ReferenceDynamic8Table()[code];
  if (IsNormalized(element)) return ReferenceDecode4Bit(BitsandbytesName(element), static_cast<uint8_t>(code));
  return DecodeFloat(FormatOf(element), code);
}

int RoundToInteger(float y, int low, int high) {
  if (std::isnan(y)) return 0;
  return static_cast<int>(NearestInteger(std::clamp<double>(y, low, high)));
}

uint32_t EncodeInteger(const std::string& element, int value) {
  return static_cast<uint32_t>(value < 0 ? value + (1 << BitsOf(element)) : value);
}

int DecodeInteger(const std::string& element, uint32_t code) {
  const int range = 1 << BitsOf(element);
  return static_cast<int>(code) < range / 2 ? static_cast<int>(code) : static_cast<int>(code) - range;
}

}  // namespace quantd::testing
