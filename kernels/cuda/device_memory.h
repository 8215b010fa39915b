// Owners of what CUDA hands out. Move-only; each belongs to the device that was current when it was made.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/cuda/device_memory_budget.h"

namespace quantd {

// Memory of the device that only grows.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  // Its memory counts as part of `budget`; null: it does not.
  explicit DeviceBuffer(std::shared_ptr<DeviceMemoryBudget> budget) : budget_(std::move(budget)) {}

  // At least `bytes` from now on; what was in it is lost if it had fewer. RESOURCE_EXHAUSTED without memory or beyond
  // the budget, and the old memory is gone too.
  absl::Status Reserve(uint64_t bytes);
  std::byte* data() const { return memory_.get(); }
  uint64_t bytes() const { return bytes_; }

 private:
  struct Free {
    std::shared_ptr<DeviceMemoryBudget> budget;
    uint64_t bytes;
    void operator()(std::byte* memory) const;
  };
  std::shared_ptr<DeviceMemoryBudget> budget_;
  std::unique_ptr<std::byte, Free> memory_;
  uint64_t bytes_ = 0;
};

// Memory of the host whose pages stay where they are: copies to and from it do not hold up whoever asks for them.
class PinnedBuffer {
 public:
  // RESOURCE_EXHAUSTED without memory.
  static absl::StatusOr<PinnedBuffer> Make(uint64_t bytes);
  std::byte* data() const { return memory_.get(); }

 private:
  struct Free {
    void operator()(std::byte* memory) const;
  };
  std::unique_ptr<std::byte, Free> memory_;
};

// A queue of copies and kernels of its own, beside those of other threads.
class Stream {
 public:
  static absl::StatusOr<Stream> Make();
  cudaStream_t get() const { return stream_.get(); }

 private:
  struct Destroy {
    void operator()(cudaStream_t stream) const;
  };
  std::unique_ptr<CUstream_st, Destroy> stream_;
};

}  // namespace quantd
