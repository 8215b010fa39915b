// CUDA's errors as statuses.
#pragma once

#include <cuda_runtime_api.h>

#include <string_view>

#include "absl/status/status.h"

namespace quantd {

// OK, RESOURCE_EXHAUSTED where the device's memory is, else INTERNAL with reason BACKEND_FAILED. `doing` names the call
// for the message: "copying the values to the GPU".
absl::Status StatusOf(cudaError_t error, std::string_view doing);

}  // namespace quantd
