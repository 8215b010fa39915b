// arithmetic=torchao: MX blocks of 32 with a power of two for a scale, by one of four rules.
#include <algorithm>
#include <cmath>

#include "tests/support/reference_arithmetic.h"
#include "tests/support/reference_elements.h"
#include "tests/support/reference_groups.h"
#include "tests/support/reference_packing.h"
#include "tests/support/reference_tensor.h"

namespace quantd::testing {
namespace {

constexpr int kNanScale = 255;

int MantissaBits(const std::string& element) {
  if (element == "fp8_e4m3") return 3;
  return element == "fp8_e5m2" ? 2 : 1;
}

// What float32's exponent field says: -127 below the normal numbers, 128 for infinity.
int FieldExponent(float amax) {
  if (std::isinf(amax)) return 128;
  return std::isnormal(amax) ? std::ilogb(amax) : -127;
}

// amax as a multiple of the power of two below it, 1 for infinity; a subnormal one counts from 2^-126, as in its bits.
double Significand(float amax) {
  if (std::isinf(amax)) return 1;
  return std::isnormal(amax) ? std::ldexp(amax, -FieldExponent(amax)) : 1 + std::ldexp(amax, 126);
}

int ScaleByRule(const ReferenceOptions& options, float amax) {
  const float largest = LargestOf(options.element);
  if (options.scale_rule == "rceil") {
    const auto logarithm = static_cast<float>(std::log2(static_cast<double>(Quotient(amax, largest))));
    return static_cast<int>(std::clamp(std::ceil(logarithm), -127.0f, 127.0f)) + 127;
  }
  int exponent = FieldExponent(amax);
  if (options.scale_rule == "ceil" && Significand(amax) > 1) ++exponent;
  if (options.scale_rule == "even" && Significand(amax) >= 2 - std::ldexp(1.0, -MantissaBits(options.element) - 1)) {
    ++exponent;
  }
  return std::clamp(exponent - std::ilogb(largest), -127, 128) + 127;
}

float Scaled(const ReferenceOptions& options, float value, int scale) {
  if (options.scale_rule != "rceil") {
    const float divisor = scale == kNanScale ? kInfinity : std::max(PowerOfTwo(scale - 127), PowerOfTwo(-126));
    return Quotient(value, divisor);
  }
  if (scale == kNanScale) return std::nanf("");
  return scale == 0 ? value : Product(value, PowerOfTwo(127 - scale));
}

// With the sign of the value, also where a NaN was made. fp4_e2m1 has no NaN: the library's cast gives code 3.
uint32_t CodeOf(const ReferenceOptions& options, float value, int scale) {
  const float y = std::copysign(Scaled(options, value, scale), value);
  if (!std::isnan(y) || HasNan(options.element)) return EncodeElement(options.element, y, true);
  return std::signbit(value) ? 11 : 3;
}

}  // namespace

Segments QuantizeTorchao(const ReferenceTensor& tensor) {
  std::vector<float> amax(GroupCount(tensor), 0.0f);
  for (uint64_t i = 0; i < tensor.size(); ++i) {
    float& largest = amax[GroupOf(tensor, i)];
    const float magnitude = std::fabs(tensor.values[i]);
    if (magnitude > largest || std::isnan(magnitude)) largest = magnitude;
  }
  std::vector<int> scales;
  for (const float largest : amax) {
    scales.push_back(std::isnan(largest) ? kNanScale : ScaleByRule(tensor.options, largest));
  }
  std::vector<uint32_t> codes;
  for (uint64_t i = 0; i < tensor.size(); ++i) {
    codes.push_back(CodeOf(tensor.options, tensor.values[i], scales[GroupOf(tensor, i)]));
  }

  Segments segments = {{"codes", PackCodes(tensor, codes)}, {"scales", {}}};
  for (const int scale : scales) segments["scales"].push_back(static_cast<std::byte>(scale));
  return segments;
}

std::vector<float> DequantizeTorchao(const ReferenceTensor& tensor, const Segments& segments) {
  const std::vector<uint32_t> codes = UnpackCodes(tensor, segments.at("codes"));
  std::vector<float> values;
  for (uint64_t i = 0; i < tensor.size(); ++i) {
    const int scale = std::to_integer<int>(segments.at("scales")[GroupOf(tensor, i)]);
    const float power = scale == kNanScale ? std::nanf("") : PowerOfTwo(scale - 127);
    values.push_back(CanonicalNan(Product(DecodeElement(tensor.options.element, codes[i]), power)));
  }
  return values;
}

}  // namespace quantd::testing
