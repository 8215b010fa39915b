#include "kernels/cpu/strip_encoder.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/cpu/error_metrics.h"
#include "kernels/cpu/nonfinite.h"

namespace quantd {
namespace {

Strip AsFloat32(const Strip& strip, const std::vector<float>& values) {
  Strip copy = strip;
  copy.values = reinterpret_cast<const std::byte*>(values.data());
  copy.dtype = DataType::kFloat32;
  return copy;
}

const std::byte* RowValues(const Strip& strip, uint64_t row) {
  return strip.values + row * strip.row_elements * SizeBytes(strip.dtype);
}

template <class Enum>
size_t Index(Enum value) {
  return static_cast<size_t>(value);
}

}  // namespace

StripEncoder::StripEncoder(const KernelTable& kernels, const Plan& plan, const UnitBatch& batch, uint64_t runs_max,
                           BatchResult& result)
    : kernels_(kernels),
      plan_(plan),
      recipe_(plan.recipe),
      batch_(batch),
      result_(result),
      scale_parameters_(plan.recipe.scale),
      runs_(runs_max) {
  scale_parameters_.global_scale = batch.parameters.global_scale;
  if (recipe_.searches_range) clip_search_.emplace(kernels, plan, batch, scale_parameters_);
}

void StripEncoder::Examine(const Strip& strip) {
  if (FindRange(strip)) return;
  ExamineNonfinite(strip, result_);
  if (plan_.scheme.nonfinite != NonfinitePolicy::kSaturate) return;
  // The scale must cover what infinities will become.
  const std::vector<float> finite = Saturated(strip);
  FindRange(AsFloat32(strip, finite));
}

void StripEncoder::Encode(const Strip& strip, std::byte* scales, std::byte* codes) {
  if (!FindRange(strip)) return EncodeNonfinite(strip, scales, codes);
  if (clip_search_.has_value()) clip_search_->Narrow(strip, runs_);
  MakeScales(strip, scales);
  EncodeRows(kernels_, strip, codes);
}

void StripEncoder::EncodeBlocks(const Strip& strip, std::byte* blocks) {
  const ByFloatType<EncodeBlocksFunction>& encode = kernels_.ggml[GgmlBlockIndex(plan_.scheme)].encode;
  if (FindRange(strip)) return encode[FloatTypeIndex(strip.dtype)](strip.values, strip.element_count(), blocks);
  ExamineNonfinite(strip, result_);
  const std::vector<float> finite = Saturated(strip);
  const auto* const values = reinterpret_cast<const std::byte*>(finite.data());
  encode[FloatTypeIndex(DataType::kFloat32)](values, strip.element_count(), blocks);
}

bool StripEncoder::FindRange(const Strip& strip) {
  const size_t type = FloatTypeIndex(strip.dtype);
  kernels_.absmax[type]({RowValues(strip, 0), strip.row_elements, strip.run_elements}, runs_.absmax.data());
  if (strip.rows > 1) MergeRows(strip);
  // As bits, because these order as the magnitudes do and NaN is above all of them; signed, because that is what every
  // x86 has vector comparisons for.
  int32_t largest = 0;
  const float* const absmax = runs_.absmax.data();
  for (uint64_t i = 0, count = strip.run_count(); i < count; ++i) {
    largest = std::max(largest, std::bit_cast<int32_t>(absmax[i]));
  }
  const float amax = std::bit_cast<float>(largest);
  if (!std::isfinite(amax)) return false;
  result_.range.amax = std::max(result_.range.amax, amax);
  if (!recipe_.has_zero_points) return true;
  for (uint64_t row = 0; row < strip.rows; ++row) {
    float* const lowest = row == 0 ? runs_.lowest.data() : runs_.row.data();
    float* const highest = row == 0 ? runs_.highest.data() : runs_.row.data() + strip.run_count();
    kernels_.range[type]({RowValues(strip, row), strip.row_elements, strip.run_elements}, lowest, highest);
    for (uint64_t i = 0; i < strip.run_count(); ++i) {
      runs_.lowest[i] = std::min(runs_.lowest[i], lowest[i]);
      runs_.highest[i] = std::max(runs_.highest[i], highest[i]);
    }
  }
  for (uint64_t i = 0; i < strip.run_count(); ++i) {
    result_.range.lowest = std::min(result_.range.lowest, runs_.lowest[i]);
    result_.range.highest = std::max(result_.range.highest, runs_.highest[i]);
  }
  return true;
}

void StripEncoder::MergeRows(const Strip& strip) {
  for (uint64_t row = 1; row < strip.rows; ++row) {
    kernels_.absmax[FloatTypeIndex(strip.dtype)]({RowValues(strip, row), strip.row_elements, strip.run_elements},
                                                 runs_.row.data());
    for (uint64_t i = 0; i < strip.run_count(); ++i) {
      const uint32_t bits = std::max(std::bit_cast<uint32_t>(runs_.absmax[i]), std::bit_cast<uint32_t>(runs_.row[i]));
      runs_.absmax[i] = std::bit_cast<float>(bits);
    }
  }
}

void StripEncoder::MakeScales(const Strip& strip, std::byte* scales) {
  if (scales == nullptr) {
    const RunScale& scale = batch_.parameters.scale;
    std::fill_n(runs_.factors.begin(), strip.run_count(), recipe_.method == ScaleMethod::kNone ? 1.0f : scale.factor);
    std::fill_n(runs_.zeros.begin(), strip.run_count(), scale.zero);
    return;
  }
  const bool asymmetric = recipe_.has_zero_points;
  kernels_.scale[Index(recipe_.method)][FloatTypeIndex(recipe_.scale_rounding)](
      {.run_count = strip.run_count(),
       .absmax = runs_.absmax.data(),
       .lowest = asymmetric ? runs_.lowest.data() : nullptr,
       .highest = asymmetric ? runs_.highest.data() : nullptr,
       .parameters = &scale_parameters_,
       .stored = scales,
       .factors = runs_.factors.data(),
       .zeros = asymmetric ? runs_.zeros.data() : nullptr});
}

void StripEncoder::EncodeRows(const KernelTable& kernels, const Strip& strip, std::byte* codes) const {
  const EncodeFunction encode =
      kernels.encode[Index(recipe_.transform)][Index(recipe_.element)][FloatTypeIndex(strip.dtype)];
  for (uint64_t row = 0; row < strip.rows; ++row) {
    encode({.values = RowValues(strip, row),
            .element_count = strip.row_elements,
            .run_elements = strip.run_elements,
            .factors = runs_.factors.data(),
            .zeros = recipe_.has_zero_points ? runs_.zeros.data() : nullptr,
            .lowest = recipe_.lowest,
            .highest = recipe_.highest,
            .code_xor = recipe_.code_xor,
            .ieee_overflow = recipe_.ieee_overflow,
            .unsigned_zero = recipe_.unsigned_zero,
            .codes = codes + row * plan_.row_code_bytes,
            .next_distance = strip.element_count() * SizeBytes(strip.dtype)});
  }
}

void StripEncoder::EncodeNonfinite(const Strip& strip, std::byte* scales, std::byte* codes) {
  ExamineNonfinite(strip, result_);
  if (plan_.scheme.nonfinite == NonfinitePolicy::kLibrary) {
    LibraryAbsmax(strip, recipe_, std::span(runs_.absmax).first(strip.run_count()));
    MakeScales(strip, scales);
    return EncodeRows(kBaselineKernels, strip, codes);
  }
  // A batch that will be rejected is saturated too, so that no byte of the output stays what it was.
  const std::vector<float> finite = Saturated(strip);
  const ValueRange range_of_finite = result_.range;
  Encode(AsFloat32(strip, finite), scales, codes);
  result_.range = range_of_finite;
}

void StripEncoder::AddErrorsOf(const Strip& strip, const float* scales, const std::byte* codes) {
  decoded_.resize(strip.element_count());
  const DecodeFunction decode =
      kernels_.decode[Index(recipe_.restore)][Index(recipe_.element)][FloatTypeIndex(DataType::kFloat32)];
  for (uint64_t row = 0; row < strip.rows; ++row) {
    decode({.codes = codes + row * plan_.row_code_bytes,
            .element_count = strip.row_elements,
            .run_elements = strip.run_elements,
            .scales = scales,
            .zeros = recipe_.has_zero_points ? runs_.zeros.data() : nullptr,
            .code_xor = recipe_.code_xor,
            .values = reinterpret_cast<std::byte*>(decoded_.data() + row * strip.row_elements)});
  }
  AddErrors(strip, decoded_.data(), result_.errors);
}

}  // namespace quantd
