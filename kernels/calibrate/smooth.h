// SmoothQuant (Xiao et al., 2022): what makes activations hard to quantize is moved into the weights.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/base/data_type.h"

namespace quantd {

// The defaults are those of mit-han-lab/smoothquant.
struct SmoothOptions {
  double alpha = 0.5;               // in [0, 1]: how much goes into the weights
  float weight_absmax_min = 1e-5f;  // smaller ones count as this
  float factor_min = 1e-5f;
  float factor_max = 1e5f;
};

// s_j = activation_j^alpha / weight_j^(1 - alpha), clamped; 1 for a dead channel (activation or weight absmax 0) and
// one that is not finite. Activations are divided by it, columns of the weight multiplied. INVALID_ARGUMENT with reason
// INVALID_SMOOTHING if the sizes differ or an option is out of its range.
absl::StatusOr<std::vector<float>> SmoothingFactors(std::span<const float> activation_absmax,
                                                    std::span<const float> weight_absmax,
                                                    const SmoothOptions& options = {});

// max |w| of each column of a row-major [rows, factors] weight; NaN counts as nothing.
std::vector<float> ColumnAbsmax(DataType dtype, std::span<const std::byte> weight, uint64_t columns);

// In place; float32 arithmetic, rounded once to `dtype` (float32, float16, bfloat16). `weight` is row-major with a
// column for each factor, or one row of it; `vector` has an element for each factor (a norm's weight or bias, a bias);
// `rows` a row of `columns` elements for each factor (the linear layer before, [out, in]). INVALID_ARGUMENT with reason
// INVALID_SMOOTHING if the bytes are not that many.
absl::Status MultiplyColumns(DataType dtype, std::span<std::byte> weight, std::span<const float> factors);
absl::Status DivideVector(DataType dtype, std::span<std::byte> vector, std::span<const float> factors);
absl::Status DivideRows(DataType dtype, std::span<std::byte> rows, uint64_t columns, std::span<const float> factors);

}  // namespace quantd
