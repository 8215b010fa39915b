// SmoothQuant on tensors of safetensors files: factors, and what they are good for.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/base/data_type.h"
#include "kernels/calibrate/smooth.h"
#include "kernels/calibrate/w8a8_error.h"
#include "server/conversion/safetensors_reader.h"

namespace quantd::cli {

// A float tensor of a file as rows of its last extent.
struct FloatRows {
  std::string name;
  DataType dtype{};
  uint64_t rows = 0;
  uint64_t columns = 0;
  std::span<const std::byte> bytes;
};

// Errors carry kFile and name file and tensor: there is none of that name, it is no float32, float16 or bfloat16, it is
// a scalar, or a value is not finite.
absl::StatusOr<FloatRows> OpenFloatRows(const server::SafetensorsReader& file, const std::string& name);

// Of weights that have the same input: their columns' largest magnitudes, and the activations' made into factors.
// INVALID_ARGUMENT with reason INVALID_SMOOTHING as SmoothingFactors, and where columns differ.
absl::StatusOr<std::vector<float>> FactorsFor(const std::vector<FloatRows>& weights,
                                              const std::vector<float>& activation_absmax,
                                              const SmoothOptions& options);

// The relative error of X · W^T with int8 activations and weights, as they are and smoothed.
struct SmoothingEffect {
  ActivationScales activations{};
  WeightScales weights{};
  double before = 0;
  double after = 0;
};

// For each kind of scales, over at most `tokens_max` rows of activations, evenly spread. The last group of
// `group_size` columns may be shorter. The smoothed weight is `smoothed`, rounded to its type already; activations are
// divided in float32. Each error is relative to the product of the same values without int8.
absl::StatusOr<std::vector<SmoothingEffect>> EffectsOf(const FloatRows& activations, const FloatRows& weight,
                                                       std::span<const std::byte> smoothed,
                                                       const std::vector<float>& factors, uint64_t tokens_max,
                                                       uint64_t group_size);

}  // namespace quantd::cli
