// The float types as a quantizer sees them: bytes to float32 and back, and rounding to each of them.
#pragma once

#include <vector>

#include "kernels/base/data_type.h"
#include "tests/support/reference_scheme.h"

namespace quantd::testing {

std::vector<float> ReadFloats(DataType type, const Bytes& bytes);
// Rounded to nearest even; NaN becomes 0x7fff in 16 bits and keeps its bits in 32.
Bytes WriteFloats(DataType type, const std::vector<float>& values);

// The nearest number of that type; infinity beyond its largest.
float RoundedTo(DataType type, float value);
float LargestFinite(DataType type);
float SmallestNormal(DataType type);
// From 1 to the next number.
float Epsilon(DataType type);

// nonfinite=saturate: NaN counts as +0, an infinity as the largest finite value of its type and sign.
std::vector<float> WithoutNonfinite(DataType type, std::vector<float> values);

}  // namespace quantd::testing
