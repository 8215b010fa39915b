// Statistics of tensors whose elements lie in device memory: the state that TensorStatistics::Add gives, byte by byte.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/calibrate/tensor_statistics.h"
#include "kernels/cuda/device_memory.h"
#include "kernels/cuda/statistics_jobs.h"

namespace quantd {

// One contribution of one tensor, on the device that was current when it was made. Move-only, not thread-safe; its
// calls share a stream.
class DeviceStatistics {
 public:
  // Exact sums of squares of buckets are left to the CPU: UNIMPLEMENTED for kImportance. RESOURCE_EXHAUSTED without
  // memory on the device; other errors as TensorStatistics::Make.
  static absl::StatusOr<DeviceStatistics> Make(const StatisticsConfig& config, DataType dtype,
                                               std::span<const uint64_t> shape, cudaStream_t stream);

  // Queues the counting of `count` elements from `begin` on, the first at `values` in device memory, which stay there
  // until the stream has done it. INTERNAL with reason BACKEND_FAILED.
  absl::Status Add(uint64_t begin, const std::byte* values, uint64_t count);

  // Waits for the stream, and gives what was counted. The last call.
  absl::StatusOr<TensorStatistics> Take();

 private:
  DeviceStatistics(TensorStatistics empty, const BucketGeometry& geometry, cudaStream_t stream)
      : counted_(std::move(empty)), geometry_(geometry), stream_(stream) {}
  bool counts_patterns() const { return counted_.config().collection == StatisticsCollection::kDistribution; }
  bool counts_ranges() const { return !counts_patterns() || counted_.dtype() == DataType::kFloat32; }
  DevicePatterns patterns() const;
  absl::Status Clear();
  absl::Status Fold();

  TensorStatistics counted_;
  BucketGeometry geometry_;
  cudaStream_t stream_;
  DeviceBuffer buckets_;
  DeviceBuffer patterns_;
  uint64_t since_fold_ = 0;
  std::vector<std::pair<uint64_t, uint64_t>> spans_;  // of elements; telling whose buckets they are can wait
};

}  // namespace quantd
