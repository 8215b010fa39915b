#include "kernels/calibrate/bucket_geometry.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/base/checked_math.h"
#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "kernels/base/status_macros.h"

namespace quantd {
namespace {

constexpr uint64_t kElementsMax = uint64_t{1} << 48;

absl::Status InvalidShape(const std::string& message) { return InvalidArgument(reason::kInvalidShape, message); }

absl::StatusOr<size_t> AxisOf(const StatisticsConfig& config, std::span<const uint64_t> shape) {
  const auto rank = static_cast<int64_t>(shape.size());
  const int64_t axis = config.axis < 0 ? rank + config.axis : config.axis;
  if (axis >= 0 && axis < rank) return static_cast<size_t>(axis);
  return InvalidShape(absl::StrCat("the statistics are per channel of axis ", config.axis, ", and the shape [",
                                   absl::StrJoin(shape, ", "), "] has no such axis"));
}

// The product, without overflow where another extent is 0.
absl::StatusOr<uint64_t> CheckedProduct(std::span<const uint64_t> shape) {
  if (shape.size() > kStatisticsRankMax) {
    return InvalidShape(
        absl::StrCat("the shape has ", shape.size(), " extents, at most ", kStatisticsRankMax, " are possible"));
  }
  uint64_t product = 1;
  if (std::ranges::find(shape, uint64_t{0}) != shape.end()) product = 0;
  for (const uint64_t extent : shape) {
    const auto larger = CheckedMul(product, extent);
    if (!larger || *larger > kElementsMax || extent > kElementsMax) {
      return InvalidShape(absl::StrCat("the shape [", absl::StrJoin(shape, ", "), "] has more than 2^48 elements"));
    }
    product = *larger;
  }
  return product;
}

absl::Status CheckBuckets(uint64_t buckets) {
  if (buckets <= kBucketsMax) return absl::OkStatus();
  return InvalidShape(absl::StrCat("the shape makes ", buckets, " buckets of statistics, at most ", kBucketsMax,
                                   " are possible: take a larger group_size"));
}

}  // namespace

absl::StatusOr<BucketGeometry> BucketGeometry::Make(const StatisticsConfig& config, std::span<const uint64_t> shape) {
  QUANTD_RETURN_IF_ERROR(CheckStatisticsConfig(config));
  QUANTD_ASSIGN_OR_RETURN(const uint64_t elements, CheckedProduct(shape));
  BucketGeometry geometry{.elements = elements, .buckets = 1};
  if (config.grouping == StatisticsGrouping::kTensor) {
    geometry.period = geometry.run = std::max<uint64_t>(elements, 1);
    return geometry;
  }
  if (config.grouping == StatisticsGrouping::kChannel) {
    QUANTD_ASSIGN_OR_RETURN(const size_t axis, AxisOf(config, shape));
    geometry.buckets = CeilDiv(shape[axis], config.group_size);
    QUANTD_RETURN_IF_ERROR(CheckBuckets(geometry.buckets));
    if (elements == 0) return geometry;
    uint64_t inner = 1;
    for (const uint64_t extent : shape.subspan(axis + 1)) inner *= extent;
    geometry.period = shape[axis] * inner;
    geometry.run = std::min(config.group_size * inner, geometry.period);
    return geometry;
  }
  geometry.anew = false;
  geometry.period = std::max<uint64_t>(shape.empty() ? 1 : shape.back(), 1);
  geometry.run = std::min<uint64_t>(config.group_size, geometry.period);
  geometry.buckets = elements / geometry.period * CeilDiv(geometry.period, geometry.run);
  QUANTD_RETURN_IF_ERROR(CheckBuckets(geometry.buckets));
  return geometry;
}

std::vector<uint64_t> CommonExtents(const StatisticsConfig& config, std::span<const uint64_t> shape) {
  if (config.grouping == StatisticsGrouping::kTensor) return {};
  if (config.grouping == StatisticsGrouping::kGroup) return {shape.begin(), shape.end()};
  const int64_t axis = config.axis < 0 ? static_cast<int64_t>(shape.size()) + config.axis : config.axis;
  return {shape[static_cast<size_t>(axis)]};
}

absl::StatusOr<uint64_t> BucketsOf(const StatisticsConfig& config, std::span<const uint64_t> common_extents) {
  StatisticsConfig along = config;
  if (config.grouping == StatisticsGrouping::kTensor && !common_extents.empty()) {
    return InvalidShape("statistics of a whole tensor have no extents");
  }
  if (config.grouping == StatisticsGrouping::kChannel) {
    if (common_extents.size() != 1) return InvalidShape("statistics per channel have one extent");
    along.axis = 0;
  }
  QUANTD_ASSIGN_OR_RETURN(const BucketGeometry geometry, BucketGeometry::Make(along, common_extents));
  return geometry.buckets;
}

}  // namespace quantd
