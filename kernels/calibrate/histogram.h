// Exact counts of the finite elements by the upper 16 bits of their pattern: of a 16-bit type all there is to know, of
// float32 sign, exponent and 7 mantissa bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/base/data_type.h"
#include "kernels/base/exact_sum.h"
#include "kernels/calibrate/count_kernels.h"

namespace quantd {

// Sorted by pattern; no count is 0.
struct Histogram {
  std::vector<uint16_t> patterns;
  std::vector<uint64_t> counts;

  size_t size() const { return patterns.size(); }
  void Append(uint16_t pattern, uint64_t count) {
    patterns.push_back(pattern);
    counts.push_back(count);
  }
  // Bins that both have count once.
  void Merge(const Histogram& other);
  size_t MemoryBytes() const { return patterns.capacity() * sizeof(uint16_t) + counts.capacity() * sizeof(uint64_t); }
  bool operator==(const Histogram&) const = default;
};

constexpr bool IsFinitePattern(DataType dtype, uint16_t pattern) {
  return (pattern & 0x7fffu) < (dtype == DataType::kFloat16 ? 0x7c00u : 0x7f80u);
}

// The float32 values of a pattern's bin that are nearest to 0 and farthest from it; the same of a 16-bit type.
struct PatternBounds {
  float nearest;
  float farthest;
};
PatternBounds BoundsOf(DataType dtype, uint16_t pattern);

// Of a 16-bit type, whose patterns are the values; exact.
ExactSum SumOf(DataType dtype, const Histogram& histogram);
ExactSum SumOfSquaresOf(DataType dtype, const Histogram& histogram);

// The numbers of the bins in ascending order of value: negative patterns backwards, then the positive ones.
std::vector<uint32_t> AscendingOrder(const Histogram& histogram);

// What another device has counted: how often each pattern occurs, non-finite ones included, and of float32 the sum of
// the 16 lower bits of each pattern's values and, by sign and exponent, of their squares. No sum wraps: of fewer than
// 2^32 elements.
struct PatternCounts {
  std::vector<uint64_t> counts;       // kPatterns
  std::vector<uint64_t> low_sums;     // kPatterns
  std::vector<uint64_t> low_squares;  // kSignsAndExponents
};
inline constexpr size_t kSignsAndExponents = 512;

// The finite ones, and, of float32, added to the sums of these; `nonfinite` grows by the others.
Histogram FoldPatterns(DataType dtype, const PatternCounts& patterns, uint64_t& nonfinite, ExactSum& sum,
                       ExactSum& sum_of_squares);

// Where elements are counted before they become a histogram. Several counters for each pattern take turns, so that
// equal neighbours do not wait for each other.
class PatternCounters {
 public:
  // How many elements can be counted before Fold; 0 until the first call of Prepare.
  uint64_t room() const { return room_; }
  void Prepare(DataType dtype);
  // At most room() values of a 16-bit type.
  void Count16(std::span<const std::byte> values);
  // At most room() values of float32, and kCountTogetherMax. `highest_exponent`: the largest of their exponent fields,
  // 255 if one is not finite.
  void Count32(std::span<const std::byte> values, uint32_t highest_exponent, const CountKernels& kernels);
  // What was counted, and, of float32, added to the sums of the finite elements; `nonfinite` grows by the others.
  Histogram Fold(DataType dtype, uint64_t& nonfinite, ExactSum& sum, ExactSum& sum_of_squares);
  void Release() { *this = {}; }
  bool in_use() const { return in_use_; }
  size_t MemoryBytes() const;
  static size_t MemoryBytesMax();

 private:
  uint64_t room_ = 0;
  bool in_use_ = false;
  std::vector<uint32_t> counts_;     // kCountTables
  std::vector<LowMoments> moments_;  // one, of float32
};

}  // namespace quantd
