// How a block's values are scaled for its codec and back: one struct for each Arithmetic of a scheme.
#pragma once

#include "kernels/format/approx_reciprocal.h"
#include "kernels/format/flush_to_zero.h"

namespace quantd {

// bitsandbytes on CUDA, which is built with fast math: approximate reciprocal, subnormals flushed.
struct BitsandbytesArithmetic {
  // What is stored for a block whose largest magnitude is absmax.
  static constexpr float ScaleOf(float absmax) { return FlushToZero(absmax); }
  // What every value of the block is normalized with; infinite for scale 0, so that 0 becomes NaN.
  static constexpr float FactorOf(float scale) { return ApproxReciprocal(scale); }
  static constexpr float Normalize(float value, float factor) { return MultiplyFtz(value, factor); }
  static constexpr float Restore(float level, float scale) { return MultiplyFtz(level, scale); }
};

// The project's own: IEEE operations, each rounded once.
struct StrictArithmetic {
  static constexpr float ScaleOf(float absmax) { return absmax; }
  // A block of zeros stays zeros.
  static constexpr float FactorOf(float scale) { return scale == 0 ? 1.0f : scale; }
  static constexpr float Normalize(float value, float factor) { return value / factor; }
  static constexpr float Restore(float level, float scale) { return level * scale; }
};

}  // namespace quantd
