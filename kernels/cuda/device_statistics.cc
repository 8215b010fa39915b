#include "kernels/cuda/device_statistics.h"

#include <algorithm>
#include <utility>

#include "kernels/base/status_macros.h"
#include "kernels/cuda/cuda_status.h"

namespace quantd {
namespace {

static_assert(sizeof(DeviceBucket) == sizeof(CountedBucket) && kLaunchElementsMax < uint64_t{1} << 32);

// Counts, and of float32 the sums of lower bits and of their squares.
constexpr uint64_t PatternWords(DataType dtype) {
  return dtype == DataType::kFloat32 ? 2 * kPatterns + kExponents : kPatterns;
}

}  // namespace

absl::StatusOr<DeviceStatistics> DeviceStatistics::Make(const StatisticsConfig& config, DataType dtype,
                                                        std::span<const uint64_t> shape, cudaStream_t stream) {
  if (config.collection == StatisticsCollection::kImportance) {
    return absl::UnimplementedError("sums of squares of buckets are the CPU's");
  }
  QUANTD_ASSIGN_OR_RETURN(TensorStatistics empty, TensorStatistics::Make(config, dtype, shape));
  QUANTD_ASSIGN_OR_RETURN(const BucketGeometry geometry, BucketGeometry::Make(config, shape));
  DeviceStatistics statistics(std::move(empty), geometry, stream);
  QUANTD_RETURN_IF_ERROR(statistics.buckets_.Reserve(std::max<uint64_t>(geometry.buckets, 1) * sizeof(DeviceBucket)));
  if (statistics.counts_patterns()) {
    QUANTD_RETURN_IF_ERROR(statistics.patterns_.Reserve(PatternWords(dtype) * sizeof(uint64_t)));
  }
  QUANTD_RETURN_IF_ERROR(statistics.Clear());
  return statistics;
}

DevicePatterns DeviceStatistics::patterns() const {
  auto* const words = reinterpret_cast<unsigned long long*>(patterns_.data());
  return {words, words + kPatterns, words + 2 * kPatterns};
}

absl::Status DeviceStatistics::Clear() {
  const std::vector<CountedBucket> nothing(geometry_.buckets);
  QUANTD_RETURN_IF_ERROR(
      StatusOf(cudaMemcpyAsync(buckets_.data(), nothing.data(), nothing.size() * sizeof(CountedBucket),
                               cudaMemcpyHostToDevice, stream_),
               "clearing buckets"));
  if (counts_patterns()) {
    QUANTD_RETURN_IF_ERROR(StatusOf(
        cudaMemsetAsync(patterns_.data(), 0, PatternWords(counted_.dtype()) * sizeof(uint64_t), stream_), "clearing"));
  }
  return StatusOf(cudaStreamSynchronize(stream_), "clearing statistics");
}

absl::Status DeviceStatistics::Add(uint64_t begin, const std::byte* values, uint64_t count) {
  if (!spans_.empty() && spans_.back().second == begin) {
    spans_.back().second += count;
  } else {
    spans_.emplace_back(begin, begin + count);
  }
  while (count > 0) {
    const DeviceElements elements{values, begin, std::min(count, kLaunchElementsMax)};
    if (counts_patterns()) {
      if (since_fold_ + elements.count > kLaunchElementsMax) QUANTD_RETURN_IF_ERROR(Fold());
      since_fold_ += elements.count;
      QUANTD_RETURN_IF_ERROR(StatusOf(LaunchCountPatterns(elements, counted_.dtype(), patterns(),
                                                          reinterpret_cast<DeviceBucket*>(buckets_.data()), stream_),
                                      "counting patterns"));
    } else {
      LaunchCountRanges(elements, counted_.dtype(), geometry_, reinterpret_cast<DeviceBucket*>(buckets_.data()),
                        stream_);
    }
    QUANTD_RETURN_IF_ERROR(StatusOf(cudaGetLastError(), "launching a kernel of statistics"));
    begin += elements.count;
    values += elements.count * SizeBytes(counted_.dtype());
    count -= elements.count;
  }
  return absl::OkStatus();
}

absl::Status DeviceStatistics::Fold() {
  const auto copy = [this](void* to, const DeviceBuffer& from, uint64_t bytes) {
    return StatusOf(cudaMemcpyAsync(to, from.data(), bytes, cudaMemcpyDeviceToHost, stream_), "copying statistics");
  };
  std::vector<CountedBucket> buckets(geometry_.buckets);
  std::vector<uint64_t> words(counts_patterns() ? PatternWords(counted_.dtype()) : 0);
  QUANTD_RETURN_IF_ERROR(copy(buckets.data(), buckets_, buckets.size() * sizeof(CountedBucket)));
  if (!words.empty()) QUANTD_RETURN_IF_ERROR(copy(words.data(), patterns_, words.size() * sizeof(uint64_t)));
  QUANTD_RETURN_IF_ERROR(StatusOf(cudaStreamSynchronize(stream_), "counting on the GPU"));
  since_fold_ = 0;
  if (counts_ranges()) counted_.AddFound(buckets);
  if (counts_patterns()) {
    const auto part = [&words](size_t begin, size_t count) {
      return std::vector<uint64_t>(words.begin() + static_cast<std::ptrdiff_t>(begin),
                                   words.begin() + static_cast<std::ptrdiff_t>(begin + count));
    };
    PatternCounts patterns{.counts = part(0, kPatterns)};
    if (counted_.dtype() == DataType::kFloat32) {
      patterns.low_sums = part(kPatterns, kPatterns);
      patterns.low_squares = part(2 * kPatterns, kExponents);
      patterns.low_squares.resize(kSignsAndExponents);
    }
    counted_.AddFound(patterns);
  }
  return Clear();
}

absl::StatusOr<TensorStatistics> DeviceStatistics::Take() {
  QUANTD_RETURN_IF_ERROR(Fold());
  for (const auto& [begin, end] : spans_) counted_.AddCounted(begin, end);
  return std::move(counted_);
}

}  // namespace quantd
