// Ranges to quantize with, computed from statistics alone. The same doubles on every machine: no function of the C
// library takes part.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/calibrate/tensor_statistics.h"
#include "kernels/format/element.h"

namespace quantd {

enum class RangeMethod : uint8_t { kMinMax, kPercentile, kMse, kEntropy };

// "minmax", "percentile", "mse", "entropy"; nothing for other names.
std::optional<RangeMethod> RangeMethodNamed(std::string_view name);
std::string_view NameOf(RangeMethod method);

struct RangeRequest {
  RangeMethod method = RangeMethod::kMinMax;
  double percentile = 99.99;        // in (50, 100]; of kPercentile
  Element target = Element::kInt8;  // of kMse: an integer or small float; of kEntropy: int8 or fp8_e4m3, fp8_e5m2
  bool symmetric = true;            // lowest = -highest; kEntropy knows nothing else
  // Looked at between candidates of the searches, which then end with CANCELLED. Null: never.
  const std::atomic<bool>* cancelled = nullptr;

  bool is_cancelled() const { return cancelled != nullptr && cancelled->load(std::memory_order_relaxed); }
};

// lowest <= highest; both 0 for a bucket without finite elements.
struct Range {
  float lowest = 0;
  float highest = 0;
  float Absmax() const { return -lowest > highest ? -lowest : highest; }
  bool operator==(const Range&) const = default;
};

// One for each bucket.
// kMinMax: of any statistics. The others need a distribution: else FAILED_PRECONDITION with reason STATISTICS_MISSING.
// kPercentile: symmetric of |x|, else the quantiles (100 - p) / 100 and p / 100 of x, numpy's and torch's `linear`;
// exact of 16-bit inputs, within 2^-7 relative of float32. INVALID_ARGUMENT with reason INVALID_RANGE_REQUEST for what
// a method cannot do.
absl::StatusOr<std::vector<Range>> FindRanges(const TensorStatistics& statistics, const RangeRequest& request);

// Whether FindSharedRange could do it, without the search: its errors, but for those of Merge.
absl::Status CheckSharedRange(std::span<const TensorStatistics* const> statistics, const RangeRequest& request);

// One range for a set of tensors that are quantized together (q, k and v of a fused layer): of all of them merged, of
// all buckets for kMinMax. INVALID_ARGUMENT for an empty set; errors of Merge and FindRanges. kMinMax merges any.
absl::StatusOr<Range> FindSharedRange(std::span<const TensorStatistics* const> statistics, const RangeRequest& request);

// E[x^2] over the finite elements of each bucket. FAILED_PRECONDITION with reason STATISTICS_MISSING for kRange.
absl::StatusOr<std::vector<double>> Importance(const TensorStatistics& statistics);

// max |x| of each bucket; 0 where there is no finite element.
std::vector<float> ChannelAbsmax(const TensorStatistics& statistics);

}  // namespace quantd
