// Which bucket of its statistics an element of a tensor belongs to.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/calibrate/statistics_config.h"

namespace quantd {

inline constexpr uint64_t kBucketsMax = uint64_t{1} << 24;
inline constexpr size_t kStatisticsRankMax = 16;

// A flattened tensor is cut into periods, a period into runs, of which the last may be shorter; a run is of one bucket.
// Buckets begin anew with every period, or go on counting.
struct BucketGeometry {
  uint64_t elements = 0;
  uint64_t period = 1;
  uint64_t run = 1;
  bool anew = true;
  uint64_t buckets = 0;

  // Errors as TensorStatistics::Make.
  static absl::StatusOr<BucketGeometry> Make(const StatisticsConfig& config, std::span<const uint64_t> shape);

  uint64_t BucketOf(uint64_t element) const {
    const uint64_t in_period = element % period / run;
    return anew ? in_period : element / period * ((period - 1) / run + 1) + in_period;
  }
  // Every element of a period has a bucket of its own.
  bool is_columns() const { return run == 1 && anew && period > 1; }
};

// Walks from run to run without a division for each.
class RunWalker {
 public:
  // At the run of `element`.
  RunWalker(const BucketGeometry& geometry, uint64_t element)
      : geometry_(geometry), period_begin_(element - element % geometry.period) {
    run_end_ = period_begin_ + ((element - period_begin_) / geometry.run + 1) * geometry.run;
    bucket_ = geometry.BucketOf(element);
  }

  uint64_t bucket() const { return bucket_; }
  // Behind the run's last element.
  uint64_t run_end() const { return std::min(run_end_, period_begin_ + geometry_.period); }
  void Next() {
    ++bucket_;
    if (run_end_ >= period_begin_ + geometry_.period) {
      period_begin_ += geometry_.period;
      run_end_ = period_begin_;
      if (geometry_.anew) bucket_ = 0;
    }
    run_end_ += geometry_.run;
  }

 private:
  const BucketGeometry& geometry_;
  uint64_t period_begin_;
  uint64_t run_end_;
  uint64_t bucket_;
};

// What contributions of equal configuration must agree in; see TensorStatistics::extents.
std::vector<uint64_t> CommonExtents(const StatisticsConfig& config, std::span<const uint64_t> shape);

// Buckets that these extents make; nothing if they cannot come from CommonExtents. For whoever reads them from a file.
absl::StatusOr<uint64_t> BucketsOf(const StatisticsConfig& config, std::span<const uint64_t> common_extents);

}  // namespace quantd
