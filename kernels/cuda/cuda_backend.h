// A GPU as a backend: the same bytes as the CPU's, whatever it leaves to the CPU.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/backend/backend.h"

namespace quantd {

// GPUs that this process sees, by CUDA's own numbers; 0 without a driver, or where CUDA_VISIBLE_DEVICES hides them.
int CudaDeviceCount();

// Computes on GPU `device`. Each of the threads in Run at the same time has a stream and memory of its own there, as
// much as its largest batch needed, until the backend dies. `rest` computes what the GPU has no kernels for, and every
// batch with a value that is NaN or infinite: double quantization, the passes that spool, ggml's blocks and error
// metrics. INTERNAL with reason BACKEND_FAILED without such a device.
absl::StatusOr<std::unique_ptr<Backend>> MakeCudaBackend(int device, std::unique_ptr<Backend> rest);

}  // namespace quantd
