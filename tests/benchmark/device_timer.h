// Time of work on a stream.
#pragma once

#include <cuda_runtime_api.h>

#include <functional>

namespace quantd::testing {

// Throws std::runtime_error unless it is cudaSuccess.
void Check(cudaError_t error);

// Between two events, the median of so many rounds after one that does not count.
double SecondsOf(int rounds, cudaStream_t stream, const std::function<void()>& work);

}  // namespace quantd::testing
