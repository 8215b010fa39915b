#include "tests/support/reference_values.h"

#include <bit>
#include <cstring>
#include <limits>

#include "tests/support/reference_arithmetic.h"
#include "tests/support/reference_quantizer.h"

namespace quantd::testing {
namespace {

struct FloatType {
  int mantissa_bits;
  int exponent_min;
  int exponent_max;
};

FloatType TypeOf(DataType type) {
  if (type == DataType::kFloat16) return {10, -14, 15};
  if (type == DataType::kBFloat16) return {7, -126, 127};
  return {23, -126, 127};
}

uint16_t Narrow(DataType type, float value) {
  return type == DataType::kFloat16 ? ReferenceToFloat16(value) : ReferenceToBFloat16(value);
}

float Widen(DataType type, uint16_t bits) {
  return type == DataType::kFloat16 ? ReferenceFromFloat16(bits) : ReferenceFromBFloat16(bits);
}

}  // namespace

std::vector<float> ReadFloats(DataType type, const Bytes& bytes) {
  std::vector<float> values(bytes.size() / SizeBytes(type));
  for (size_t i = 0; i < values.size(); ++i) {
    if (type == DataType::kFloat32) {
      std::memcpy(&values[i], &bytes[i * sizeof(float)], sizeof(float));
    } else {
      uint16_t bits;
      std::memcpy(&bits, &bytes[i * sizeof(bits)], sizeof(bits));
      values[i] = Widen(type, bits);
    }
  }
  return values;
}

Bytes WriteFloats(DataType type, const std::vector<float>& values) {
  Bytes bytes;
  for (const float value : values) {
    const uint32_t bits = type == DataType::kFloat32 ? std::bit_cast<uint32_t>(value) : Narrow(type, value);
    for (uint32_t i = 0; i < SizeBytes(type); ++i) bytes.push_back(static_cast<std::byte>(bits >> 8 * i & 0xff));
  }
  return bytes;
}

float RoundedTo(DataType type, float value) {
  return type == DataType::kFloat32 ? value : Widen(type, Narrow(type, value));
}

float LargestFinite(DataType type) {
  const FloatType info = TypeOf(type);
  return static_cast<float>(std::ldexp(2.0 - std::ldexp(1.0, -info.mantissa_bits), info.exponent_max));
}

float SmallestNormal(DataType type) { return PowerOfTwo(TypeOf(type).exponent_min); }

float Epsilon(DataType type) { return PowerOfTwo(-TypeOf(type).mantissa_bits); }

std::vector<float> WithoutNonfinite(DataType type, std::vector<float> values) {
  for (float& value : values) {
    if (std::isnan(value)) value = 0;
    if (std::isinf(value)) value = std::copysign(LargestFinite(type), value);
  }
  return values;
}

}  // namespace quantd::testing
