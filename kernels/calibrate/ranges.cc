#include "kernels/calibrate/ranges.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "kernels/base/status_macros.h"
#include "kernels/calibrate/range_searches.h"
#include "kernels/calibrate/target_levels.h"
#include "kernels/calibrate/value_bins.h"
#include "kernels/cpu/float_environment.h"
#include "kernels/format/format_list.h"

namespace quantd {
namespace {

constexpr std::string_view kMethodNames[] = {"minmax", "percentile", "mse", "entropy"};

absl::Status InvalidRequest(const std::string& message) {
  return InvalidArgument(reason::kInvalidRangeRequest, message);
}

absl::Status CheckRequest(const RangeRequest& request) {
  switch (request.method) {
    case RangeMethod::kMinMax:
      return absl::OkStatus();
    case RangeMethod::kPercentile:
      if (request.percentile > 50 && request.percentile <= 100) return absl::OkStatus();
      return InvalidRequest(absl::StrCat("percentile ", request.percentile, " is not in (50, 100]"));
    case RangeMethod::kMse:
      if (CanTarget(request.target, request.symmetric)) return absl::OkStatus();
      return InvalidRequest("mse needs an integer or small float to quantize to; asymmetric ranges an integer");
    case RangeMethod::kEntropy:
      if (!request.symmetric) return InvalidRequest("entropy finds symmetric ranges only");
      if (request.target == Element::kInt8 || request.target == Element::kFp8E4m3 ||
          request.target == Element::kFp8E5m2) {
        return absl::OkStatus();
      }
      return InvalidRequest("entropy is for int8, fp8_e4m3 and fp8_e5m2");
  }
  return InvalidRequest("there is no such method");
}

Range MinMaxOf(const BucketRange& range, bool symmetric) {
  if (range.count == range.nonfinite) return {};
  if (!symmetric) return {range.lowest, range.highest};
  return {-range.Absmax(), range.Absmax()};
}

// The element of that rank; inside a bin elements are as far from each other as from the bin's ends.
double AtRank(const std::vector<ValueBin>& bins, uint64_t rank, uint64_t elements) {
  if (rank + 1 == elements) return bins.back().high;
  if (rank == 0) return bins.front().low;
  size_t bin = 0;
  for (; rank >= bins[bin].count; ++bin) rank -= bins[bin].count;
  const auto place = static_cast<double>(rank) + 0.5;
  return bins[bin].low + (bins[bin].high - bins[bin].low) * (place / static_cast<double>(bins[bin].count));
}

// numpy.quantile's method `linear`, operation for operation.
double Quantile(const std::vector<ValueBin>& bins, uint64_t elements, double quantile) {
  const double position = static_cast<double>(elements - 1) * quantile;
  const double below = std::floor(position);
  const double fraction = position - below;
  const uint64_t rank = std::min(static_cast<uint64_t>(below), elements - 1);
  const double low = AtRank(bins, rank, elements);
  const double high = AtRank(bins, std::min(rank + 1, elements - 1), elements);
  const double difference = high - low;
  return fraction >= 0.5 ? high - difference * (1 - fraction) : low + difference * fraction;
}

Range PercentileOf(const TensorStatistics& statistics, double percentile, bool symmetric) {
  const BucketRange total = statistics.Total();
  const uint64_t elements = total.count - total.nonfinite;
  if (symmetric) {
    const auto absolute = static_cast<float>(Quantile(MagnitudeBins(statistics), elements, percentile / 100));
    return {-absolute, absolute};
  }
  const std::vector<ValueBin> bins = ValueBins(statistics);
  return {static_cast<float>(Quantile(bins, elements, (100 - percentile) / 100)),
          static_cast<float>(Quantile(bins, elements, percentile / 100))};
}

absl::Status CheckDistribution(const TensorStatistics& statistics, const RangeRequest& request) {
  if (statistics.config().collection == StatisticsCollection::kDistribution) return absl::OkStatus();
  return MakeError(absl::StatusCode::kFailedPrecondition, reason::kStatisticsMissing,
                   absl::StrCat(std::string(NameOf(request.method)),
                                " needs a distribution: calibrate with grouping=tensor, collect=distribution"));
}

absl::StatusOr<Range> FindDistributionRange(const TensorStatistics& statistics, const RangeRequest& request) {
  QUANTD_RETURN_IF_ERROR(CheckDistribution(statistics, request));
  const BucketRange total = statistics.Total();
  if (total.count == total.nonfinite || (total.lowest == 0 && total.highest == 0)) return Range{};
  if (request.method == RangeMethod::kPercentile) {
    return PercentileOf(statistics, request.percentile, request.symmetric);
  }
  const Range range =
      request.method == RangeMethod::kMse ? FindMseRange(statistics, request) : FindEntropyRange(statistics, request);
  if (request.is_cancelled()) return absl::CancelledError("the search for a range was cancelled");
  return range;
}

}  // namespace

std::optional<RangeMethod> RangeMethodNamed(std::string_view name) {
  const auto* const found = std::ranges::find(kMethodNames, name);
  if (found == std::end(kMethodNames)) return std::nullopt;
  return static_cast<RangeMethod>(found - kMethodNames);
}

std::string_view NameOf(RangeMethod method) { return kMethodNames[static_cast<size_t>(method)]; }

absl::StatusOr<std::vector<Range>> FindRanges(const TensorStatistics& statistics, const RangeRequest& request) {
  const ScopedFloatEnvironment environment;
  QUANTD_RETURN_IF_ERROR(CheckRequest(request));
  std::vector<Range> ranges;
  if (request.method == RangeMethod::kMinMax) {
    for (const BucketRange& range : statistics.Ranges()) ranges.push_back(MinMaxOf(range, request.symmetric));
    return ranges;
  }
  QUANTD_ASSIGN_OR_RETURN(const Range range, FindDistributionRange(statistics, request));
  ranges.push_back(range);
  return ranges;
}

absl::Status CheckSharedRange(std::span<const TensorStatistics* const> statistics, const RangeRequest& request) {
  QUANTD_RETURN_IF_ERROR(CheckRequest(request));
  if (statistics.empty()) return InvalidRequest("a shared range is of one tensor at least");
  if (request.method == RangeMethod::kMinMax) return absl::OkStatus();
  for (const TensorStatistics* const one : statistics) QUANTD_RETURN_IF_ERROR(CheckDistribution(*one, request));
  return absl::OkStatus();
}

absl::StatusOr<Range> FindSharedRange(std::span<const TensorStatistics* const> statistics,
                                      const RangeRequest& request) {
  const ScopedFloatEnvironment environment;
  QUANTD_RETURN_IF_ERROR(CheckRequest(request));
  if (statistics.empty()) return InvalidRequest("a shared range is of one tensor at least");
  if (request.method == RangeMethod::kMinMax) {
    std::optional<Range> shared;
    for (const TensorStatistics* const one : statistics) {
      const BucketRange total = one->Total();
      if (total.count == total.nonfinite) continue;
      const Range range = MinMaxOf(total, request.symmetric);
      if (!shared) shared = range;
      shared = Range{std::min(shared->lowest, range.lowest), std::max(shared->highest, range.highest)};
    }
    return shared.value_or(Range{});
  }
  TensorStatistics merged = *statistics.front();
  for (const TensorStatistics* const one : statistics.subspan(1)) QUANTD_RETURN_IF_ERROR(merged.Merge(*one));
  return FindDistributionRange(merged, request);
}

absl::StatusOr<std::vector<double>> Importance(const TensorStatistics& statistics) {
  if (statistics.config().collection != StatisticsCollection::kRange) return statistics.MeanSquares();
  return MakeError(absl::StatusCode::kFailedPrecondition, reason::kStatisticsMissing,
                   "importance needs sums of squares: calibrate with collect=importance");
}

std::vector<float> ChannelAbsmax(const TensorStatistics& statistics) {
  std::vector<float> absmax;
  for (const BucketRange& range : statistics.Ranges()) absmax.push_back(range.Absmax());
  return absmax;
}

}  // namespace quantd
