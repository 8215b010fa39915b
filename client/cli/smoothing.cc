#include "client/cli/smoothing.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "client/cli/exit_code.h"
#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "kernels/base/float16.h"
#include "kernels/base/status_macros.h"
#include "server/conversion/printable.h"

namespace quantd::cli {
namespace {

std::vector<float> Widened(DataType dtype, std::span<const std::byte> bytes) {
  std::vector<float> values(bytes.size() / SizeBytes(dtype));
  if (dtype == DataType::kFloat32) {
    std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
    return values;
  }
  for (size_t i = 0; i < values.size(); ++i) {
    uint16_t bits;
    std::memcpy(&bits, bytes.data() + i * sizeof(bits), sizeof(bits));
    values[i] = dtype == DataType::kFloat16 ? Float16ToFloat32(bits) : BFloat16ToFloat32(bits);
  }
  return values;
}

// Of `rows.rows` rows at most `count`, evenly spread.
std::vector<float> SpreadRows(const FloatRows& rows, uint64_t count) {
  const uint64_t row_bytes = rows.columns * SizeBytes(rows.dtype);
  const uint64_t taken = std::min(rows.rows, count);
  std::vector<float> values;
  values.reserve(taken * rows.columns);
  for (uint64_t i = 0; i < taken; ++i) {
    const std::vector<float> row =
        Widened(rows.dtype, rows.bytes.subspan(i * rows.rows / taken * row_bytes, row_bytes));
    values.insert(values.end(), row.begin(), row.end());
  }
  return values;
}

absl::Status Unusable(const server::SafetensorsReader& file, const std::string& name, const char* why) {
  return WithExitCode(
      absl::InvalidArgumentError(absl::StrCat(file.path(), ": tensor ", server::Quoted(name), " ", why)),
      ExitCode::kFile);
}

}  // namespace

absl::StatusOr<FloatRows> OpenFloatRows(const server::SafetensorsReader& file, const std::string& name) {
  const server::SafetensorsEntry* const entry = file.Find(name);
  if (entry == nullptr) return Unusable(file, name, "is not there");
  const std::optional<DataType> dtype = DataTypeNamed(entry->dtype.name);
  if (!dtype.has_value() || !InfoOf(*dtype).is_float) return Unusable(file, name, "is not F32, F16 or BF16");
  if (entry->shape.empty() || entry->size_bytes() == 0) return Unusable(file, name, "has no rows");
  FloatRows rows{name, *dtype, 1, entry->shape.back(), file.BytesOf(*entry)};
  rows.rows = entry->element_count() / rows.columns;
  const std::vector<float> values = Widened(*dtype, rows.bytes);
  if (!std::all_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); })) {
    return Unusable(file, name, "has values that are not finite");
  }
  return rows;
}

absl::StatusOr<std::vector<float>> FactorsFor(const std::vector<FloatRows>& weights,
                                              const std::vector<float>& activation_absmax,
                                              const SmoothOptions& options) {
  std::vector<float> weight_absmax(activation_absmax.size(), 0.0f);
  for (const FloatRows& weight : weights) {
    if (weight.columns != activation_absmax.size()) {
      return InvalidArgument(reason::kInvalidSmoothing,
                             absl::StrCat("weight ", weight.name, " has ", weight.columns, " columns, and there are ",
                                          activation_absmax.size(), " channels of activations"));
    }
    const std::vector<float> absmax = ColumnAbsmax(weight.dtype, weight.bytes, weight.columns);
    for (size_t i = 0; i < absmax.size(); ++i) weight_absmax[i] = std::max(weight_absmax[i], absmax[i]);
  }
  return SmoothingFactors(activation_absmax, weight_absmax, options);
}

absl::StatusOr<std::vector<SmoothingEffect>> EffectsOf(const FloatRows& activations, const FloatRows& weight,
                                                       std::span<const std::byte> smoothed,
                                                       const std::vector<float>& factors, uint64_t tokens_max,
                                                       uint64_t group_size) {
  const std::vector<float> x = SpreadRows(activations, tokens_max);
  const std::vector<float> w = Widened(weight.dtype, weight.bytes);
  const std::vector<float> smoothed_w = Widened(weight.dtype, smoothed);
  std::vector<float> smoothed_x = x;
  for (size_t i = 0; i < x.size(); ++i) smoothed_x[i] /= factors[i % factors.size()];
  std::vector<SmoothingEffect> effects;
  for (const ActivationScales of_x : {ActivationScales::kPerTensor, ActivationScales::kPerToken}) {
    for (const WeightScales of_w : {WeightScales::kPerTensor, WeightScales::kPerChannel, WeightScales::kPerGroup}) {
      const W8a8Options options{of_x, of_w, group_size};
      QUANTD_ASSIGN_OR_RETURN(const W8a8Error before, MeasureW8a8(x, w, weight.columns, options));
      QUANTD_ASSIGN_OR_RETURN(const W8a8Error after, MeasureW8a8(smoothed_x, smoothed_w, weight.columns, options));
      effects.push_back({of_x, of_w, before.Relative(), after.Relative()});
    }
  }
  return effects;
}

}  // namespace quantd::cli
