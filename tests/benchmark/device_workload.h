// A scheme's work on one tensor in device memory, through the launches that CudaBackend uses.
#pragma once

#include <cuda_runtime_api.h>

#include <map>
#include <string>
#include <vector>

#include "kernels/cuda/device_batch.h"
#include "kernels/cuda/device_memory.h"
#include "kernels/cuda/findings_memory.h"

namespace quantd::testing {

struct DeviceScheme {
  SchemeRequest request;
  KnownStatistics known;
  uint64_t columns = 4096;
};

// Tensors of the same size, all quantized, and the memory for their values.
class DeviceWorkload {
 public:
  // `tensors` of them, so that none is in a cache when its turn comes again. Throws std::runtime_error if it cannot be.
  DeviceWorkload(const DeviceScheme& scheme, DataType dtype, uint64_t value_bytes, uint32_t tensors,
                 CudaKernels kernels, cudaStream_t stream);

  // All tensors, one after another. Quantize comes first.
  void Quantize();
  void Dequantize();

  // Of a tensor: read and written.
  uint64_t QuantizeBytes() const;
  uint64_t DequantizeBytes() const;

  // What was made of the first units of the first tensor is what the CPU makes.
  bool QuantizedRight() const;
  bool DequantizedRight() const;

 private:
  struct Tensor {
    DeviceBuffer values;
    DeviceBuffer restored;
    std::map<std::string, DeviceBuffer, std::less<>> segments;
  };

  DeviceBatch BatchOf(const Plan& plan, uint32_t pass, const Tensor& tensor) const;
  std::byte* MemoryOf(const Tensor& tensor, const Plan& plan, const SegmentLayout& segment) const;
  bool IsRight(const Plan& plan) const;

  Plan quantize_;
  Plan dequantize_;
  TensorParameters parameters_;
  CudaKernels kernels_;
  LaunchPolicy policy_;
  cudaStream_t stream_;
  DeviceBuffer scratch_;
  FindingsMemory findings_;
  std::vector<Tensor> tensors_;
};

}  // namespace quantd::testing
