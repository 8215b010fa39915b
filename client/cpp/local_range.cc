#include "client/cpp/local_range.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/base/float16.h"

namespace quantd {
namespace {

// Calls take(value) until it returns false.
template <class Bits, class Widen, class Take>
void ForEachOf(std::span<const std::byte> values, Widen widen, Take take) {
  for (size_t at = 0; at + sizeof(Bits) <= values.size(); at += sizeof(Bits)) {
    Bits bits{};
    std::memcpy(&bits, values.data() + at, sizeof(bits));
    if (!take(widen(bits))) return;
  }
}

template <class Take>
void ForEach(std::span<const std::byte> values, DataType dtype, Take take) {
  if (dtype == DataType::kFloat16) return ForEachOf<uint16_t>(values, Float16ToFloat32, take);
  if (dtype == DataType::kBFloat16) return ForEachOf<uint16_t>(values, BFloat16ToFloat32, take);
  ForEachOf<uint32_t>(values, [](uint32_t bits) { return std::bit_cast<float>(bits); }, take);
}

void Widen(ValueRange& range, float value) {
  range.lowest = std::min(range.lowest, value);
  range.highest = std::max(range.highest, value);
}

}  // namespace

std::optional<ValueRange> LocalRange(std::span<const std::byte> values, DataType dtype) {
  ValueRange range;
  bool finite = true;
  ForEach(values, dtype, [&](float value) {
    Widen(range, value);
    return finite = std::isfinite(value);
  });
  if (!finite) return std::nullopt;
  range.amax = std::max(-range.lowest, range.highest);
  return range;
}

LocalStatistics StatisticsOf(std::span<const std::byte> values, DataType dtype) {
  LocalStatistics statistics;
  ForEach(values, dtype, [&](float value) {
    if (std::isfinite(value)) {
      Widen(statistics.range, value);
    } else {
      ++statistics.nonfinite_count;
    }
    return true;
  });
  statistics.range.amax = std::max(-statistics.range.lowest, statistics.range.highest);
  return statistics;
}

ValueRange Union(const ValueRange& a, const ValueRange& b) {
  return {std::max(a.amax, b.amax), std::min(a.lowest, b.lowest), std::max(a.highest, b.highest)};
}

bool SpoolsValues(const Plan& plan) { return plan.direction == Direction::kQuantize && plan.NeedsRange(); }

KnownStatistics StatisticsFor(const Plan& plan, const ValueRange& range) {
  KnownStatistics known = plan.known;
  if (!SpoolsValues(plan)) return known;
  if (plan.scheme.symmetric) {
    known.amax = range.amax;
  } else {
    known.min = range.lowest;
    known.max = range.highest;
  }
  return known;
}

}  // namespace quantd
