#include "server/worker/cuda_device.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "kernels/base/status_macros.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/device_process.h"
#include "server/worker/gpu_discovery.h"

namespace quantd::server {
namespace {

// The only one that quantd lets the process see.
constexpr int kDevice = 0;
// What CUDA's context and our kernels take at most where NVML does not say how much; 510 to 620 MiB where it was
// measured.
constexpr uint64_t kContextBytesMax = uint64_t{640} << 20;
// What CUDA takes after its context was measured: kernels that are loaded when they are first used, and streams.
constexpr uint64_t kLaterBytes = uint64_t{64} << 20;
// A batch takes less: its inputs and outputs fill a slot at most, and what is made between them is smaller. So does
// what is computed together.
constexpr uint64_t kSlotsPerBatch = 2;
// More at once is no faster, and its first batch waits longer for its last.
constexpr uint64_t kTogetherBytesMax = 16 << 20;

// CUDA's own part of the device's memory. What others take or give back in the same moment is in the difference too.
uint64_t ContextBytes(std::optional<uint64_t> used_before, std::optional<uint64_t> used_now) {
  if (!used_before.has_value() || !used_now.has_value() || *used_now <= *used_before) return kContextBytesMax;
  return *used_now - *used_before + kLaterBytes;
}

std::string InMib(uint64_t bytes) { return std::to_string(bytes >> 20) + " MiB"; }

// Batches whose memory fits into what the budget leaves for them, and into what others have left.
absl::StatusOr<uint32_t> BatchesThatFit(const StartMessage& start, uint64_t context_bytes, uint64_t budget_bytes) {
  QUANTD_ASSIGN_OR_RETURN(const uint64_t free_bytes, FreeDeviceBytes());
  const uint64_t batch_bytes = kSlotsPerBatch * start.slot_bytes;
  if (budget_bytes < batch_bytes) {
    return absl::FailedPreconditionError("gpu.memory_budget_bytes is " + InMib(start.memory_budget_bytes) +
                                         ", of which CUDA's own memory takes " + InMib(context_bytes) +
                                         " and a batch " + InMib(batch_bytes));
  }
  const uint64_t batches = std::min(budget_bytes, free_bytes) / batch_bytes;
  if (batches > 0) return static_cast<uint32_t>(std::min<uint64_t>(batches, start.units_in_flight));
  return absl::ResourceExhaustedError("other processes have the GPU's memory: " + InMib(free_bytes) + " are free");
}

class CudaDevice final : public WorkerDevice {
 public:
  absl::StatusOr<uint32_t> Open(const StartMessage& start, std::span<std::byte> slots) override {
    const auto used_before = UsedGpuBytes(start.device);
    QUANTD_RETURN_IF_ERROR(TakeDevice(kDevice));
    QUANTD_ASSIGN_OR_RETURN(slots_, RegisteredMemory::Register(slots));
    const uint64_t context_bytes = ContextBytes(used_before, UsedGpuBytes(start.device));
    budget_ = std::make_shared<DeviceMemoryBudget>(start.memory_budget_bytes -
                                                   std::min(start.memory_budget_bytes, context_bytes));
    QUANTD_RETURN_IF_ERROR(MakeBackend());
    QUANTD_ASSIGN_OR_RETURN(const uint32_t units, BatchesThatFit(start, context_bytes, budget_->bytes_max()));
    together_bytes_max_ = std::min(kTogetherBytesMax, budget_->bytes_max() / units / kSlotsPerBatch);
    return units;
  }

  uint64_t together_bytes_max() const override { return together_bytes_max_; }

  std::shared_ptr<Backend> backend() override {
    absl::MutexLock lock(&mutex_);
    return backend_;
  }

  // Frees the memory of batches that are over; those under way keep the old backend, and theirs with it.
  void Trim() override { MakeBackend().IgnoreError(); }

 private:
  absl::Status MakeBackend() {
    QUANTD_ASSIGN_OR_RETURN(
        std::shared_ptr<Backend> made,
        MakeCudaBackend(kDevice, MakeCpuBackend(), {.mapped = slots_.mapped(), .memory_budget = budget_}));
    absl::MutexLock lock(&mutex_);
    backend_.swap(made);
    return absl::OkStatus();
  }

  RegisteredMemory slots_;
  uint64_t together_bytes_max_ = 0;
  std::shared_ptr<DeviceMemoryBudget> budget_;  // of all backends together: old ones still have some
  absl::Mutex mutex_;
  std::shared_ptr<Backend> backend_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

std::unique_ptr<WorkerDevice> MakeCudaDevice() { return std::make_unique<CudaDevice>(); }

}  // namespace quantd::server
