#include "kernels/calibrate/w8a8_error.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "kernels/calibrate/target_levels.h"
#include "kernels/cpu/float_environment.h"

namespace quantd {
namespace {

// Each run of a row, or everything if a run is longer than a row, quantized with a scale of its own.
std::vector<float> Quantized(std::span<const float> values, uint64_t columns, uint64_t run) {
  std::vector<float> quantized;
  quantized.reserve(values.size());
  for (uint64_t begin = 0; begin < values.size();) {
    const uint64_t row_end = run > columns ? values.size() : begin - begin % columns + columns;
    const auto part = values.subspan(begin, std::min(run, row_end - begin));
    float absmax = 0;
    for (const float value : part) absmax = std::max(absmax, std::fabs(value));
    const TargetScale scale = ScaleFor(Element::kInt8, true, -absmax, absmax);
    for (const float value : part) quantized.push_back(FakeQuantized(Element::kInt8, true, scale, value));
    begin += part.size();
  }
  return quantized;
}

double Dot(const float* a, const float* b, uint64_t count) {
  double sum = 0;
  for (uint64_t i = 0; i < count; ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

}  // namespace

double W8a8Error::Relative() const { return error_squares == 0 ? 0 : std::sqrt(error_squares / product_squares); }

absl::StatusOr<W8a8Error> MeasureW8a8(std::span<const float> activations, std::span<const float> weights,
                                      uint64_t columns, const W8a8Options& options) {
  const ScopedFloatEnvironment environment;
  if (columns == 0 || activations.size() % columns != 0 || weights.size() % columns != 0 || options.group_size == 0) {
    return InvalidArgument(reason::kInvalidSmoothing,
                           absl::StrCat(activations.size(), " activations and ", weights.size(),
                                        " weights are no rows of ", columns, " columns, or the group size is 0"));
  }
  const uint64_t whole = std::max(activations.size(), weights.size()) + columns;
  const std::vector<float> activation_codes =
      Quantized(activations, columns, options.activations == ActivationScales::kPerToken ? columns : whole);
  const uint64_t weight_run = options.weights == WeightScales::kPerTensor    ? whole
                              : options.weights == WeightScales::kPerChannel ? columns
                                                                             : std::min(options.group_size, columns);
  const std::vector<float> weight_codes = Quantized(weights, columns, weight_run);
  W8a8Error error;
  for (uint64_t token = 0; token < activations.size(); token += columns) {
    for (uint64_t output = 0; output < weights.size(); output += columns) {
      const double exact = Dot(&activations[token], &weights[output], columns);
      const double difference = Dot(&activation_codes[token], &weight_codes[output], columns) - exact;
      error.product_squares += exact * exact;
      error.error_squares += difference * difference;
    }
  }
  return error;
}

}  // namespace quantd
