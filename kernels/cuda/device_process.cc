#include "kernels/cuda/device_process.h"

#include <cuda_runtime_api.h>

#include <utility>

#include "kernels/base/status_macros.h"
#include "kernels/cuda/cuda_status.h"

namespace quantd {

absl::StatusOr<RegisteredMemory> RegisteredMemory::Register(std::span<std::byte> memory) {
  QUANTD_RETURN_IF_ERROR(
      StatusOf(cudaHostRegister(memory.data(), memory.size(), cudaHostRegisterMapped), "locking the slots' pages"));
  RegisteredMemory registered({.host = memory, .device = nullptr});
  void* device = nullptr;
  QUANTD_RETURN_IF_ERROR(
      StatusOf(cudaHostGetDevicePointer(&device, memory.data(), 0), "finding the slots as the GPU sees them"));
  registered.mapped_.device = static_cast<std::byte*>(device);
  return registered;
}

RegisteredMemory::~RegisteredMemory() {
  if (!mapped_.host.empty()) cudaHostUnregister(mapped_.host.data());
}

RegisteredMemory::RegisteredMemory(RegisteredMemory&& other) noexcept
    : mapped_(std::exchange(other.mapped_, MappedMemory())) {}

RegisteredMemory& RegisteredMemory::operator=(RegisteredMemory&& other) noexcept {
  std::swap(mapped_, other.mapped_);
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
