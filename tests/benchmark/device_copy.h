// What device kernels are measured against, and what they work on.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "kernels/base/data_type.h"

namespace quantd::testing {

// 16 bytes a thread; `bytes` is a multiple of 16.
void LaunchVectorCopy(std::byte* target, const std::byte* source, uint64_t bytes, cudaStream_t stream);

// Reads only, 16 bytes a thread four times at once; what it has read decides whether it writes, and it never does.
void LaunchVectorRead(std::byte* target, const std::byte* source, uint64_t bytes, cudaStream_t stream);

// Normally distributed values, the same for the same `seed`.
void LaunchNormalValues(std::byte* values, uint64_t element_count, DataType dtype, uint32_t seed, cudaStream_t stream);

}  // namespace quantd::testing
