#include "kernels/cuda/device_process.h"

#include <cuda_runtime_api.h>

#include <utility>

#include "kernels/base/status_macros.h"
#include "kernels/cuda/cuda_status.h"

namespace quantd {

absl::StatusOr<RegisteredMemory> RegisteredMemory::Register(std::span<std::byte> memory) {
  QUANTD_RETURN_IF_ERROR(
      StatusOf(cudaHostRegister(memory.data(), memory.size(), cudaHostRegisterDefault), "locking the slots' pages"));
  return RegisteredMemory(memory.data());
}

RegisteredMemory::~RegisteredMemory() {
  if (data_ != nullptr) cudaHostUnregister(data_);
}

RegisteredMemory::RegisteredMemory(RegisteredMemory&& other) noexcept : data_(std::exchange(other.data_, nullptr)) {}

RegisteredMemory& RegisteredMemory::operator=(RegisteredMemory&& other) noexcept {
  std::swap(data_, other.data_);
  return *this;
}

absl::Status TakeDevice(int device) {
  QUANTD_RETURN_IF_ERROR(StatusOf(cudaSetDevice(device), "choosing the GPU"));
  QUANTD_RETURN_IF_ERROR(
      StatusOf(cudaSetDeviceFlags(cudaDeviceScheduleBlockingSync), "choosing how to wait for the GPU"));
  return StatusOf(cudaFree(nullptr), "making the GPU's context");
}

absl::StatusOr<uint64_t> FreeDeviceBytes() {
  size_t free_bytes = 0;
  size_t all_bytes = 0;
  QUANTD_RETURN_IF_ERROR(StatusOf(cudaMemGetInfo(&free_bytes, &all_bytes), "asking for the GPU's free memory"));
  return free_bytes;
}

}  // namespace quantd
