// A tensor's statistics found where the tensor is, so that the server need not keep the values until it has them.
#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include "kernels/base/data_type.h"
#include "kernels/scheme/plan.h"

namespace quantd {

// The range of `values`, whole elements of a float type in any alignment; nothing if one of them is NaN or infinite,
// for what those mean is the scheme's affair.
std::optional<ValueRange> LocalRange(std::span<const std::byte> values, DataType dtype);

// What a server's summary says of values: the finite ones' range, and how many are not.
struct LocalStatistics {
  ValueRange range;
  uint64_t nonfinite_count = 0;
};
LocalStatistics StatisticsOf(std::span<const std::byte> values, DataType dtype);

// Of two parts of a tensor together.
ValueRange Union(const ValueRange& a, const ValueRange& b);

// True if the server would have to keep all values until it has seen the last one.
bool SpoolsValues(const Plan& plan);

// What the server needs of `range` to take the tensor in one pass, and what is known already.
KnownStatistics StatisticsFor(const Plan& plan, const ValueRange& range);

}  // namespace quantd
