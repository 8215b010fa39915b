// Scales as bitsandbytes makes them on CUDA, where it is built with fast math: approximate reciprocal, subnormals
// flushed. Values are multiplied by the factor with MultiplyFtz.
#pragma once

#include "kernels/format/approx_reciprocal.h"
#include "kernels/format/flush_to_zero.h"
#include "kernels/format/scale_types.h"

namespace quantd {

// NF4, FP4 and dynamic8: the scale is the absmax. For scale 0 the factor is infinite, so that 0 becomes NaN.
struct BitsandbytesAbsmax {
  static constexpr RunScale Make(const RunRange& run, const ScaleParameters&) {
    const float scale = FlushToZero(run.absmax);
    return {Float32Scale::ToBits(scale), ApproxReciprocal(scale), 0};
  }
  static constexpr float Restore(uint32_t stored, const ScaleParameters&) { return Float32Scale::FromBits(stored); }
};

// LLM.int8: the absmax of a row is stored, 127 / absmax is the factor.
struct BitsandbytesRow {
  static constexpr RunScale Make(const RunRange& run, const ScaleParameters&) {
    const float scale = FlushToZero(run.absmax);
    return {Float32Scale::ToBits(scale), MultiplyFtz(127.0f, ApproxReciprocal(scale)), 0};
  }
  static constexpr float Restore(uint32_t stored, const ScaleParameters&) { return Float32Scale::FromBits(stored); }
};

}  // namespace quantd
