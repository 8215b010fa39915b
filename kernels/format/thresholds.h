// Codes as ranks among thresholds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

namespace quantd {

// Number of thresholds below `value`; 0 for NaN. Without branches or a loop, so that compilers turn it into vector
// code.
template <size_t kCount>
constexpr uint32_t CountBelow(const float (&thresholds)[kCount], float value) {
  return [&]<size_t... kIndex>(std::index_sequence<kIndex...>) {
    return (static_cast<uint32_t>(value > thresholds[kIndex]) + ...);
  }(std::make_index_sequence<kCount>());
}

}  // namespace quantd
