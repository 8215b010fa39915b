#include "kernels/cpu/smoothed_values.h"

#include <algorithm>

#include "kernels/cpu/segment_pointers.h"

namespace quantd {

SmoothedValues::SmoothedValues(const KernelTable& kernels, const Plan& plan, const UnitBatch& batch)
    : kernels_(kernels), columns_(plan.columns), factors_(InputOf(plan, batch, kSmoothingFactorsSegment)) {}

Strip SmoothedValues::Of(const Strip& strip) {
  if (factors_ == nullptr) return strip;
  const MultiplyFunction multiply = kernels_.multiply[FloatTypeIndex(strip.dtype)];
  const uint64_t value_bytes = SizeBytes(strip.dtype);
  products_.resize(std::max<size_t>(products_.size(), strip.element_count() * value_bytes));
  for (uint64_t done = 0; done < strip.element_count();) {
    const uint64_t column = (strip.first_element + done) % columns_;
    const uint64_t count = std::min(strip.element_count() - done, columns_ - column);
    multiply({strip.values + done * value_bytes, factors_ + column * sizeof(float), count,
              products_.data() + done * value_bytes});
    done += count;
  }
  Strip smoothed = strip;
  smoothed.values = products_.data();
  return smoothed;
}

}  // namespace quantd
