// Scales in the project's own arithmetic: IEEE operations, each rounded once, then rounded to the scale's type. Values
// are divided by the factor.
#pragma once

#include "kernels/format/scale_types.h"

namespace quantd {

// A scale that rounds to 0 would divide by it; 1 keeps a block of zeros zeros.
constexpr float OneForZero(float scale) { return scale == 0 ? 1.0f : scale; }

// Elements with levels in [-1, 1]: the scale is the absmax.
template <class Type>
struct StrictAbsmax {
  static constexpr RunScale Make(const RunRange& run, const ScaleParameters&) {
    const float scale = RoundToFinite<Type>(run.absmax);
    return {Type::ToBits(scale), OneForZero(scale), 0};
  }
  static constexpr float Restore(uint32_t stored, const ScaleParameters&) { return Type::FromBits(stored); }
};

// Integers and small floats: absmax becomes the largest code.
template <class Type>
struct StrictSymmetric {
  static constexpr RunScale Make(const RunRange& run, const ScaleParameters& parameters) {
    const float scale = OneForZero(RoundToFinite<Type>(run.absmax / parameters.divisor));
    return {Type::ToBits(scale), scale, 0};
  }
  static constexpr float Restore(uint32_t stored, const ScaleParameters&) { return Type::FromBits(stored); }
};

// Integers with a zero point: [lowest, highest] becomes the whole range of codes, and 0 a code (Krishnamoorthi,
// "Quantizing deep convolutional networks for efficient inference", 2018, section 2.1).
template <class Type>
struct StrictAsymmetric {
  static constexpr RunScale Make(const RunRange& run, const ScaleParameters& parameters) {
    const float half_range = run.highest / 2 - run.lowest / 2;
    const float half_steps = (parameters.highest_code - parameters.lowest_code) / 2;
    const float scale = OneForZero(RoundToFinite<Type>(half_range / half_steps));
    const float unrounded_zero = parameters.lowest_code - run.lowest / scale;
    const float zero = run.highest == run.lowest
                           ? 0.0f
                           : RoundEven(Clamp(unrounded_zero, parameters.lowest_code, parameters.highest_code));
    return {Type::ToBits(scale), scale, zero};
  }
  static constexpr float Restore(uint32_t stored, const ScaleParameters&) { return Type::FromBits(stored); }
};

}  // namespace quantd
