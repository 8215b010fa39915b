// What is done with one value: the same expression on every backend, which makes the same bytes.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "kernels/format/element.h"
#include "kernels/format/flush_to_zero.h"
#include "kernels/format/scale_types.h"

namespace quantd {

// What is done to a value before it is clamped and becomes a code. The second operand is RunScale::factor.
enum class Transform : uint8_t { kMultiply, kMultiplyFtz, kDivide, kDivideAddZero };
inline constexpr size_t kTransformCount = 4;

// How a code's level becomes a value. kMultiply also subtracts the zero point where there is one.
enum class Restore : uint8_t { kMultiply, kMultiplyFtz, kLlmInt8 };
inline constexpr size_t kRestoreCount = 3;

template <Transform kTransform>
constexpr float Transformed(float value, float factor, float zero) {
  if constexpr (kTransform == Transform::kMultiply) return value * factor;
  if constexpr (kTransform == Transform::kMultiplyFtz) return MultiplyFtz(value, factor);
  if constexpr (kTransform == Transform::kDivide) return value / factor;
  return value / factor + zero;
}

// The code of `transformed`, which was made of `value`. `rules`: an EncodeJob, or what else has its lowest, highest,
// ieee_overflow and unsigned_zero.
template <class Format, class Rules>
constexpr uint32_t Encoded(float transformed, float value, const Rules& rules) {
  if constexpr (Format::kKind == ElementKind::kMiniFloat) {
    // Factors are positive, so this changes the sign of NaN only, which processors make differently.
    const float signed_value = std::bit_cast<float>((std::bit_cast<uint32_t>(transformed) & 0x7fffffffu) |
                                                    (std::bit_cast<uint32_t>(value) & 0x80000000u));
    if constexpr (Format::kHasNan) {
      if (rules.ieee_overflow) return Format::EncodeIeee(signed_value);
    }
    return Format::Encode(rules.unsigned_zero ? signed_value + 0.0f : signed_value);
  } else if constexpr (Format::kKind == ElementKind::kInteger) {
    if (transformed != transformed) return 0;
    return Format::Encode(Clamp(transformed, rules.lowest, rules.highest));
  } else {
    return Format::Encode(transformed);
  }
}

// What LLM.int8 multiplies code · absmax with: the library's literal for 1 / 127.
inline constexpr float kLlmInt8Step = 7.874015718698502e-3f;

template <Restore kRestore, class Format>
constexpr float Restored(uint32_t code, float scale, float zero) {
  const float level = Format::Decode(code);
  if constexpr (kRestore == Restore::kMultiplyFtz) return MultiplyFtz(level, scale);
  if constexpr (kRestore == Restore::kLlmInt8) return level * scale * kLlmInt8Step;
  return (level - zero) * scale;
}

// Whether a recipe may have both.
template <class Format>
constexpr bool MakesSense(Transform transform) {
  switch (Format::kKind) {
    case ElementKind::kLevels:
      return transform == Transform::kMultiplyFtz || transform == Transform::kDivide;
    case ElementKind::kMiniFloat:
      return transform == Transform::kMultiply || transform == Transform::kDivide;
    case ElementKind::kInteger:
      return transform == Transform::kDivide || transform == Transform::kDivideAddZero ||
             (transform == Transform::kMultiplyFtz && Format::kBits == 8);
    case ElementKind::kCast:
      return transform == Transform::kMultiply;
  }
  return false;
}
template <class Format>
constexpr bool MakesSense(Restore restore) {
  if (restore == Restore::kMultiply) return true;
  return restore == Restore::kMultiplyFtz ? Format::kKind == ElementKind::kLevels
                                          : Format::kKind == ElementKind::kInteger && Format::kBits == 8;
}

}  // namespace quantd
