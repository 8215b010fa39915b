// A GPU as a backend: the same bytes as the CPU's, whatever it leaves to the CPU.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/backend/backend.h"
#include "kernels/cuda/device_memory_budget.h"

namespace quantd {

// GPUs that this process sees, by CUDA's own numbers; 0 without a driver, or where CUDA_VISIBLE_DEVICES hides them.
int CudaDeviceCount();

// kGeneric has everything, and reads values twice. kFused is for runs that lie in whole groups of 16 values, which is
// nearly all that is large, and leaves the rest to kGeneric. Both make the same bytes.
enum class CudaKernels : uint8_t { kFused, kGeneric };

// Memory of the host that kernels reach, and where it is for them.
struct MappedMemory {
  std::span<std::byte> host;
  std::byte* device = nullptr;
};

struct CudaBackendOptions {
  CudaKernels kernels = CudaKernels::kFused;
  // Batches of at most kInPlaceBytesMax whose segments all lie there are computed there, without copies. Outlives the
  // backend.
  MappedMemory mapped;
  std::shared_ptr<DeviceMemoryBudget> memory_budget;  // of all that Run allocates; null: no limit but the device's
};

// Of inputs and outputs: from there on copies are faster than kernels that wait for the bus.
inline constexpr uint64_t kInPlaceBytesMax = 256 << 10;

// Computes on GPU `device`. Each of the threads in Run at the same time has a stream and memory of its own there, as
// much as its largest batch needed, until the backend dies; Run is RESOURCE_EXHAUSTED where there is none. `rest`
// computes what the GPU has no kernels for: every batch with a value that is NaN or infinite, ggml's blocks and error
// metrics. INTERNAL with reason BACKEND_FAILED without such a device.
absl::StatusOr<std::unique_ptr<Backend>> MakeCudaBackend(int device, std::unique_ptr<Backend> rest,
                                                         CudaBackendOptions options = {});

}  // namespace quantd
