// What the device counts for kernels/calibrate, and the loops that do it as functions that launch them. All pointers
// are to device memory.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "kernels/base/data_type.h"
#include "kernels/calibrate/bucket_geometry.h"

namespace quantd {

// Of the finite elements of a bucket, as OrderedKey; of the others their number.
struct DeviceBucket {
  uint32_t lowest_key;
  uint32_t highest_key;
  unsigned long long nonfinite;
};

// Of all elements of a tensor, as PatternCounts. `low_sums` and `low_squares` of float32 only.
struct DevicePatterns {
  unsigned long long* counts;
  unsigned long long* low_sums;
  unsigned long long* low_squares;
};

// Elements [begin, begin + count) of a flattened tensor, the first of which is at `values`, aligned to an element. A
// launch takes fewer than 2^32.
struct DeviceElements {
  const std::byte* values;
  uint64_t begin;
  uint64_t count;
};
inline constexpr uint64_t kLaunchElementsMax = uint64_t{1} << 31;

void LaunchCountRanges(const DeviceElements& elements, DataType dtype, const BucketGeometry& geometry,
                       DeviceBucket* buckets, cudaStream_t stream);
// Of float32 also the range, into the only bucket. Fails if the device has too little shared memory.
cudaError_t LaunchCountPatterns(const DeviceElements& elements, DataType dtype, const DevicePatterns& patterns,
                                DeviceBucket* bucket, cudaStream_t stream);

}  // namespace quantd
