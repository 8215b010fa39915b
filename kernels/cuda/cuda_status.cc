#include "kernels/cuda/cuda_status.h"

#include <cuda_runtime_api.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"

namespace quantd {

absl::Status StatusOf(cudaError_t error, std::string_view doing) {
  if (error == cudaSuccess) return absl::OkStatus();
  cudaGetLastError();  // what CUDA remembers would be the next launch's error too, unless it is for good
  const std::string message = absl::StrCat(std::string(doing), ": ", cudaGetErrorString(error));
  if (error == cudaErrorMemoryAllocation) return absl::ResourceExhaustedError(message);
  return MakeError(absl::StatusCode::kInternal, reason::kBackendFailed, message);
}

}  // namespace quantd
