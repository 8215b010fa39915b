// What int8 activations and int8 weights do to the product X · W^T, for reports.
#pragma once

#include <cstdint>
#include <span>

#include "absl/status/statusor.h"

namespace quantd {

enum class ActivationScales : uint8_t { kPerTensor, kPerToken };
enum class WeightScales : uint8_t { kPerTensor, kPerChannel, kPerGroup };

struct W8a8Options {
  ActivationScales activations = ActivationScales::kPerTensor;
  WeightScales weights = WeightScales::kPerChannel;
  uint64_t group_size = 128;  // of kPerGroup; columns
};

struct W8a8Error {
  double error_squares = 0;    // of the products' differences
  double product_squares = 0;  // of the products of the values as they are
  double Relative() const;     // sqrt(error / product); 0 if there is no error
};

// `activations` [tokens, columns] and `weights` [outputs, columns], row-major and finite; symmetric int8 by the strict
// arithmetic of docs/formats.md; products in double. tokens · outputs · columns operations on one thread.
// INVALID_ARGUMENT with reason INVALID_SMOOTHING if a size is no multiple of `columns` or that is 0.
absl::StatusOr<W8a8Error> MeasureW8a8(std::span<const float> activations, std::span<const float> weights,
                                      uint64_t columns, const W8a8Options& options);

}  // namespace quantd
