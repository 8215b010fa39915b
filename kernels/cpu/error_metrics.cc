#include "kernels/cpu/error_metrics.h"

#include <algorithm>
#include <cmath>

#include "kernels/format/value_types.h"

namespace quantd {
namespace {

// Terms that are summed in float64 from left to right before the exact sum takes them. Every unit has a multiple of 16
// elements or is a row, and strips begin with units, so no cut moves these chunks.
constexpr uint64_t kChunkElements = 16;

}  // namespace

void AddErrors(const Strip& strip, const float* decoded, ErrorSums& errors) {
  WithValues(strip.dtype, [&]<class Values>(Values) {
    using Bits = typename Values::Bits;
    for (uint64_t row = 0; row < strip.rows; ++row) {
      for (uint64_t begin = 0; begin < strip.row_elements; begin += kChunkElements) {
        const uint64_t end = std::min(begin + kChunkElements, strip.row_elements);
        double squared_error = 0;
        double squared_value = 0;
        for (uint64_t i = row * strip.row_elements + begin; i < row * strip.row_elements + end; ++i) {
          const double value = Values::Widen(LoadUnaligned<Bits>(strip.values + i * sizeof(Bits)));
          if (!std::isfinite(value)) continue;
          const double error = value - decoded[i];
          ++errors.count;
          squared_error += error * error;
          squared_value += value * value;
          errors.largest_error = std::max(errors.largest_error, std::fabs(error));
        }
        errors.squared_error.Add(squared_error);
        errors.squared_value.Add(squared_value);
      }
    }
  });
}

}  // namespace quantd
