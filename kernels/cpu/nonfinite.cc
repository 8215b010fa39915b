#include "kernels/cpu/nonfinite.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/format/value_types.h"

namespace quantd {
namespace {

// Calls function(value, index in the strip) for every value as float32.
template <class Function>
void ForEachValue(const Strip& strip, Function function) {
  WithValues(strip.dtype, [&]<class Values>(Values) {
    using Bits = typename Values::Bits;
    for (uint64_t i = 0; i < strip.element_count(); ++i) {
      function(Values::Widen(LoadUnaligned<Bits>(strip.values + i * sizeof(Bits))), i);
    }
  });
}

float LargestFinite(DataType type) {
  return WithValues(type, []<class Values>(Values) { return Values::kLargestFinite; });
}

// As fmaxf finds it from -FLT_MAX up: NaN is passed over, and the padding of a short block counts.
void BitsandbytesAbsmax(const Strip& strip, std::span<float> absmax) {
  const bool short_last = strip.row_elements % strip.run_elements != 0;
  std::ranges::fill(absmax, -std::numeric_limits<float>::max());
  if (short_last) absmax.back() = 0;
  ForEachValue(strip, [&](float value, uint64_t i) {
    float& largest = absmax[i / strip.run_elements];
    if (std::fabs(value) > largest) largest = std::fabs(value);
  });
}

}  // namespace

void ExamineNonfinite(const Strip& strip, BatchResult& result) {
  ForEachValue(strip, [&](float value, uint64_t i) {
    if (std::isfinite(value)) {
      result.range.amax = std::max(result.range.amax, std::fabs(value));
      result.range.lowest = std::min(result.range.lowest, value);
      result.range.highest = std::max(result.range.highest, value);
      return;
    }
    ++result.nonfinite_count;
    result.first_nonfinite_element = std::min(result.first_nonfinite_element, strip.first_element + i);
  });
}

std::vector<float> Saturated(const Strip& strip) {
  std::vector<float> finite(strip.element_count());
  const float largest = LargestFinite(strip.dtype);
  ForEachValue(strip, [&](float value, uint64_t i) {
    finite[i] = std::isnan(value) ? 0.0f : std::isinf(value) ? std::copysign(largest, value) : value;
  });
  return finite;
}

void LibraryAbsmax(const Strip& strip, const Recipe& recipe, std::span<float> absmax) {
  if (recipe.method == ScaleMethod::kBitsandbytesAbsmax) return BitsandbytesAbsmax(strip, absmax);
  const bool strict = recipe.restore == Restore::kMultiply && recipe.transform == Transform::kDivide;
  const bool skips_nan = strict || recipe.method == ScaleMethod::kBitsandbytesRow;
  std::ranges::fill(absmax, 0.0f);
  ForEachValue(strip, [&](float value, uint64_t i) {
    float& largest = absmax[i % strip.row_elements / strip.run_elements];
    if (std::isnan(value) ? skips_nan : strict && std::isinf(value)) return;
    if (std::fabs(value) > largest || std::isnan(value)) largest = std::fabs(value);
  });
}

}  // namespace quantd
