#include "server/worker/cuda_device.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "kernels/base/status_macros.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/device_process.h"

namespace quantd::server {
namespace {

// The only one that quantd lets the process see.
constexpr int kDevice = 0;
// What CUDA's context and our kernels take at most; 510 to 620 MiB where it was measured.
constexpr uint64_t kContextBytes = uint64_t{640} << 20;
// A batch takes less: its inputs and outputs fill a slot at most, and what is made between them is smaller.
constexpr uint64_t kSlotsPerBatch = 2;

// Batches whose memory fits into the budget, and into what others have left.
absl::StatusOr<uint32_t> BatchesThatFit(const StartMessage& start) {
  QUANTD_ASSIGN_OR_RETURN(const uint64_t free_bytes, FreeDeviceBytes());
  const uint64_t budget_bytes = start.memory_budget_bytes - std::min(start.memory_budget_bytes, kContextBytes);
  const uint64_t batches = std::min(budget_bytes, free_bytes) / (kSlotsPerBatch * start.slot_bytes);
  if (batches > 0) return static_cast<uint32_t>(std::min<uint64_t>(batches, start.units_in_flight));
  return absl::ResourceExhaustedError(budget_bytes < free_bytes
                                          ? "gpu.memory_budget_bytes leaves no room for a slot beside CUDA's own memory"
                                          : "other processes have the GPU's memory: " + std::to_string(free_bytes) +
                                                " bytes are free");
}

class CudaDevice final : public WorkerDevice {
 public:
  absl::StatusOr<uint32_t> Open(const StartMessage& start, std::span<std::byte> slots) override {
    QUANTD_RETURN_IF_ERROR(TakeDevice(kDevice));
    QUANTD_ASSIGN_OR_RETURN(slots_, RegisteredMemory::Register(slots));
    QUANTD_RETURN_IF_ERROR(MakeBackend());
    return BatchesThatFit(start);
  }

  std::shared_ptr<Backend> backend() override {
    absl::MutexLock lock(&mutex_);
    return backend_;
  }

  // Frees the memory of batches that are over; those under way keep the old backend, and theirs with it.
  void Trim() override { MakeBackend().IgnoreError(); }

 private:
  absl::Status MakeBackend() {
    QUANTD_ASSIGN_OR_RETURN(std::shared_ptr<Backend> made,
                            MakeCudaBackend(kDevice, MakeCpuBackend(), CudaKernels::kFused, slots_.mapped()));
    absl::MutexLock lock(&mutex_);
    backend_.swap(made);
    return absl::OkStatus();
  }

  RegisteredMemory slots_;
  absl::Mutex mutex_;
  std::shared_ptr<Backend> backend_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

std::unique_ptr<WorkerDevice> MakeCudaDevice() { return std::make_unique<CudaDevice>(); }

}  // namespace quantd::server
