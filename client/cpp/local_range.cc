#include "client/cpp/local_range.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/base/float16.h"

namespace quantd {
namespace {

template <class Bits, class Widen>
std::optional<ValueRange> RangeOf(std::span<const std::byte> values, Widen widen) {
  ValueRange range;
  for (size_t at = 0; at + sizeof(Bits) <= values.size(); at += sizeof(Bits)) {
    Bits bits{};
    std::memcpy(&bits, values.data() + at, sizeof(bits));
    const float value = widen(bits);
    if (!std::isfinite(value)) return std::nullopt;
    range.lowest = std::min(range.lowest, value);
    range.highest = std::max(range.highest, value);
  }
  range.amax = std::max(-range.lowest, range.highest);
  return range;
}

}  // namespace

std::optional<ValueRange> LocalRange(std::span<const std::byte> values, DataType dtype) {
  if (dtype == DataType::kFloat16) return RangeOf<uint16_t>(values, Float16ToFloat32);
  if (dtype == DataType::kBFloat16) return RangeOf<uint16_t>(values, BFloat16ToFloat32);
  return RangeOf<uint32_t>(values, [](uint32_t bits) { return std::bit_cast<float>(bits); });
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
