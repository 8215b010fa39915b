// The statistics of one tensor name: a value that does not depend on how the elements were cut, ordered or shared out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/base/data_type.h"
#include "kernels/base/exact_sum.h"
#include "kernels/calibrate/bucket_geometry.h"
#include "kernels/calibrate/count_kernels.h"
#include "kernels/calibrate/histogram.h"
#include "kernels/calibrate/ordered_key.h"
#include "kernels/calibrate/square_sums.h"
#include "kernels/calibrate/statistics_config.h"

namespace quantd {

// Of one tensor name in one calibration. Merge refuses more.
inline constexpr uint64_t kStatisticsElementsMax = uint64_t{1} << 48;

// What every bucket has. Non-finite elements count in both counts and in nothing else.
struct BucketRange {
  uint64_t count = 0;      // elements, non-finite ones included
  uint64_t nonfinite = 0;  // of these NaN or infinite
  float lowest;            // of finite elements, -0 below +0; +infinity if there is none
  float highest;           // -infinity if there is none
  float Absmax() const;    // 0 if there is none

  bool operator==(const BucketRange&) const = default;  // of finite ranges or empty ones; -0 equals +0 here
};

// What another device has found in a bucket.
struct CountedBucket {
  uint32_t lowest_key = kNoLowestKey;  // OrderedKey of the finite elements' float32
  uint32_t highest_key = kNoHighestKey;
  uint64_t nonfinite = 0;
};

// Movable and copyable. Not thread-safe: one for each thread, then Merge. Equal multisets of elements in each bucket
// make states that no accessor, no later Merge and no file can tell apart.
class TensorStatistics {
 public:
  // For contributions of `shape`, which fixes the buckets: kTensor has one; kChannel ceil(extent of the axis /
  // group_size), other extents may differ between contributions; kGroup as many as the shape has groups, and every
  // contribution has that shape. INVALID_ARGUMENT with reason INVALID_STATISTICS_CONFIG, INVALID_DTYPE (not float32,
  // float16, bfloat16) or INVALID_SHAPE (no such axis; over kStatisticsElementsMax elements or kBucketsMax buckets).
  static absl::StatusOr<TensorStatistics> Make(const StatisticsConfig& config, DataType dtype,
                                               std::span<const uint64_t> shape);

  // What MemoryBytes() of a state that Make would give can reach, whatever is added and merged. The same errors.
  static absl::StatusOr<uint64_t> MemoryBytesMax(const StatisticsConfig& config, DataType dtype,
                                                 std::span<const uint64_t> shape);

  // Counts the elements from `begin` on of the flattened contribution; whole elements, all inside the shape. Any order,
  // any cut. Of a state from Make only: one that was read from a file has no shape. `kernels` change the speed only.
  void Add(uint64_t begin, std::span<const std::byte> values, const CountKernels& kernels = BestCountKernels());

  // Elements that another device has counted; those of `begin` to `end` as Add takes them. What it has found in these
  // follows: of every bucket, or, of kDistribution, the patterns and, of float32, the range too. Not of kImportance.
  void AddCounted(uint64_t begin, uint64_t end);
  void AddFound(std::span<const CountedBucket> buckets);
  void AddFound(const PatternCounts& patterns);

  // Gives back the memory that only Add needs (over 1 MiB with a distribution); the next Add takes it again. Call it
  // when a contribution is complete.
  void Compact();

  // Counts all of `other` too. INVALID_ARGUMENT with reason INCOMPATIBLE_STATISTICS if configuration, dtype or buckets
  // differ; OUT_OF_RANGE with reason STATISTICS_LIMIT beyond kStatisticsElementsMax; unchanged then.
  absl::Status Merge(const TensorStatistics& other);

  const StatisticsConfig& config() const { return config_; }
  DataType dtype() const { return dtype_; }
  // What contributions must agree in: nothing, the axis' extent, or the whole shape.
  const std::vector<uint64_t>& extents() const { return extents_; }
  uint64_t bucket_count() const { return buckets_.size(); }

  // Of each bucket.
  std::vector<BucketRange> Ranges() const;
  // Of all buckets together.
  BucketRange Total() const;
  // Of the finite elements; empty unless kDistribution.
  Histogram Distribution() const;
  // Over the finite elements of all buckets, exact. Sum: of kDistribution only, else 0. SumOfSquares: 0 for kRange.
  ExactSum Sum() const;
  ExactSum SumOfSquares() const;
  // Of each bucket, of the exact sum rounded once: E[x^2] over its finite elements, 0 if there is none. Empty for
  // kRange.
  std::vector<double> MeanSquares() const;

  size_t MemoryBytes() const;

 private:
  friend class StatisticsCodec;  // the file's view
  TensorStatistics() = default;

  struct Bucket {
    uint64_t count = 0;
    uint64_t nonfinite = 0;
    uint32_t lowest_key = kNoLowestKey;  // OrderedKey of the float32
    uint32_t highest_key = kNoHighestKey;
  };

  void AddRuns(uint64_t begin, std::span<const std::byte> values, const CountKernels& kernels);
  void AddColumns(uint64_t begin, std::span<const std::byte> values, const CountKernels& kernels);
  void AddDistribution(std::span<const std::byte> values, const CountKernels& kernels);
  uint32_t FindHighestExponent(std::span<const std::byte> block, const CountKernels& kernels);
  void CountRow(uint64_t first_bucket, uint64_t rows, std::span<const std::byte> values, const CountKernels& kernels);
  void FoldColumns();
  void FoldCounters();
  void AddHistogram(const Histogram& counted);
  TensorStatistics Compacted() const;
  bool IsCompact() const;

  StatisticsConfig config_;
  DataType dtype_{};
  std::vector<uint64_t> extents_;
  BucketGeometry geometry_;  // of the contribution; no elements in a state from a file
  std::vector<Bucket> buckets_;
  Histogram histogram_;
  ExactSum sum_;  // of float32 with a distribution; otherwise the histogram tells
  ExactSum sum_of_squares_;
  SquareSums square_sums_;  // of kImportance

  // What Add has not folded into the above yet.
  PatternCounters counters_;
  struct Columns {
    std::vector<std::byte> extremes;  // signed_max, unsigned_max, unsigned_min of each bucket
    std::vector<uint64_t> nonfinite;
    uint64_t whole_rows = 0;  // counted, for every bucket
  } columns_;
};

}  // namespace quantd
