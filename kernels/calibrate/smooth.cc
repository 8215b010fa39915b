#include "kernels/calibrate/smooth.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "kernels/base/status_macros.h"
#include "kernels/calibrate/reproducible_log.h"
#include "kernels/cpu/float_environment.h"
#include "kernels/format/value_types.h"

namespace quantd {
namespace {

absl::Status Invalid(const std::string& message) { return InvalidArgument(reason::kInvalidSmoothing, message); }

absl::Status CheckBytes(DataType dtype, size_t bytes, uint64_t multiple, bool exact) {
  if (!InfoOf(dtype).is_float) return Invalid("smoothing is of float32, float16 and bfloat16 values");
  const uint64_t elements = bytes / SizeBytes(dtype);
  if (bytes % SizeBytes(dtype) == 0 && (exact ? elements == multiple : multiple != 0 && elements % multiple == 0)) {
    return absl::OkStatus();
  }
  return Invalid(absl::StrCat(bytes, " bytes of values do not match ", multiple, " elements"));
}

// Each value becomes change(value, index), rounded to the type.
template <class Change>
void ChangeEach(DataType dtype, std::span<std::byte> bytes, const Change& change) {
  const ScopedFloatEnvironment environment;
  WithValues(dtype, [&]<class Values>(Values) {
    using Bits = typename Values::Bits;
    for (uint64_t i = 0; i < bytes.size() / sizeof(Bits); ++i) {
      std::byte* const place = bytes.data() + i * sizeof(Bits);
      StoreUnaligned(place, Values::Narrow(change(Values::Widen(LoadUnaligned<Bits>(place)), i)));
    }
  });
}

double Factor(double activation, double weight, double alpha) {
  if (alpha == 0.5) return std::sqrt(activation / weight);
  return ReproducibleExp2(alpha * ReproducibleLog2(activation) - (1 - alpha) * ReproducibleLog2(weight));
}

}  // namespace

absl::StatusOr<std::vector<float>> SmoothingFactors(std::span<const float> activation_absmax,
                                                    std::span<const float> weight_absmax,
                                                    const SmoothOptions& options) {
  const ScopedFloatEnvironment environment;
  if (activation_absmax.size() != weight_absmax.size()) {
    return Invalid(absl::StrCat("there are ", activation_absmax.size(), " channels of activations and ",
                                weight_absmax.size(), " columns of weights"));
  }
  if (!(options.alpha >= 0 && options.alpha <= 1)) {
    return Invalid(absl::StrCat("alpha ", options.alpha, " is not in [0, 1]"));
  }
  if (!(options.factor_min > 0 && options.factor_min <= options.factor_max && std::isfinite(options.factor_max) &&
        options.weight_absmax_min >= 0 && std::isfinite(options.weight_absmax_min))) {
    return Invalid("factor_min and factor_max must be positive, finite and in that order, weight_absmax_min finite");
  }
  std::vector<float> factors;
  factors.reserve(activation_absmax.size());
  for (size_t i = 0; i < activation_absmax.size(); ++i) {
    const float activation = activation_absmax[i];
    const float weight = weight_absmax[i];
    if (!(activation > 0 && weight > 0 && std::isfinite(activation) && std::isfinite(weight))) {
      factors.push_back(1);
      continue;
    }
    const double factor = Factor(activation, std::max(weight, options.weight_absmax_min), options.alpha);
    factors.push_back(std::clamp(static_cast<float>(factor), options.factor_min, options.factor_max));
  }
  return factors;
}

std::vector<float> ColumnAbsmax(DataType dtype, std::span<const std::byte> weight, uint64_t columns) {
  const ScopedFloatEnvironment environment;
  std::vector<float> absmax(columns);
  WithValues(dtype, [&]<class Values>(Values) {
    using Bits = typename Values::Bits;
    for (uint64_t i = 0; i < weight.size() / sizeof(Bits); ++i) {
      const float magnitude = std::fabs(Values::Widen(LoadUnaligned<Bits>(weight.data() + i * sizeof(Bits))));
      float& largest = absmax[i % columns];
      if (magnitude > largest) largest = magnitude;
    }
  });
  return absmax;
}

absl::Status MultiplyColumns(DataType dtype, std::span<std::byte> weight, std::span<const float> factors) {
  QUANTD_RETURN_IF_ERROR(CheckBytes(dtype, weight.size(), factors.size(), false));
  ChangeEach(dtype, weight, [factors](float value, uint64_t i) { return value * factors[i % factors.size()]; });
  return absl::OkStatus();
}

absl::Status DivideVector(DataType dtype, std::span<std::byte> vector, std::span<const float> factors) {
  QUANTD_RETURN_IF_ERROR(CheckBytes(dtype, vector.size(), factors.size(), true));
  ChangeEach(dtype, vector, [factors](float value, uint64_t i) { return value / factors[i]; });
  return absl::OkStatus();
}

absl::Status DivideRows(DataType dtype, std::span<std::byte> rows, uint64_t columns, std::span<const float> factors) {
  if (columns == 0 || factors.size() > rows.size() / columns) return Invalid("there are fewer rows than factors");
  QUANTD_RETURN_IF_ERROR(CheckBytes(dtype, rows.size(), columns * factors.size(), true));
  ChangeEach(dtype, rows, [factors, columns](float value, uint64_t i) { return value / factors[i / columns]; });
  return absl::OkStatus();
}

}  // namespace quantd
