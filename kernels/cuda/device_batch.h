// A batch whose segments lie in device memory, and the kernels that compute it: what CudaBackend does between its
// copies.
#pragma once

#include <cuda_runtime_api.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "kernels/backend/backend.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/device_jobs.h"
#include "kernels/scheme/plan.h"

namespace quantd {

// Plain data; the memory belongs to the caller until the stream's work is done.
struct DeviceBatch {
  const Plan& plan;
  uint32_t pass = 0;
  uint64_t element_count = 0;
  TensorParameters parameters;  // quantize as UnitBatch::parameters, dequantize ParametersFrom
  // In the order of Pass::inputs and Pass::outputs; null where a segment belongs to the whole tensor. Aligned to 4
  // bytes; to 16 for fused kernels.
  std::array<std::byte*, kSegmentsMax> inputs{};
  std::array<std::byte*, kSegmentsMax> outputs{};
  std::byte* scratch = nullptr;  // DeviceScratchBytes, aligned to 256
  FindingsTarget findings{};     // of LaunchQuantize
  CudaKernels kernels = CudaKernels::kFused;
  LaunchPolicy policy{};  // of the device
};

// False for what is left to another backend: ggml.
bool HasDeviceKernels(const Plan& plan);

uint64_t DeviceScratchBytes(const Plan& plan, uint64_t element_count);

// Queue the batches on `stream`: those with the same kernels and rules become launches of up to kLaunchTensorsMax of
// them. All quantize or all dequantize, and each has memory of its own. INTERNAL with reason BACKEND_FAILED if a copy
// or a fill cannot be queued; errors of the launches themselves are left to cudaGetLastError. An output that is a copy
// of an input (spooled values) is not written.
absl::Status LaunchQuantize(std::span<const DeviceBatch> batches, cudaStream_t stream);
absl::Status LaunchDequantize(std::span<const DeviceBatch> batches, cudaStream_t stream);

}  // namespace quantd
