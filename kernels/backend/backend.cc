#include "kernels/backend/backend.h"

#include <algorithm>

namespace quantd {

void BatchResult::Merge(const BatchResult& other) {
  nonfinite_count += other.nonfinite_count;
  first_nonfinite_element = std::min(first_nonfinite_element, other.first_nonfinite_element);
  range.amax = std::max(range.amax, other.range.amax);
  range.lowest = std::min(range.lowest, other.range.lowest);
  range.highest = std::max(range.highest, other.range.highest);
  if (other.errors.count > 0) errors.Merge(other.errors);  // mostly nobody asks for them
}

void Backend::RunTogether(std::span<BatchRun> runs) {
  for (BatchRun& run : runs) run.result = Run(run.plan, run.batch, run.cancelled);
}

}  // namespace quantd
