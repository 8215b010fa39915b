// What a process that serves one GPU does to it besides computing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/cuda/cuda_backend.h"

namespace quantd {

// Memory of this process that the GPU copies from and to by itself, and that its kernels reach: page-locked, and so
// resident, until destroyed.
class RegisteredMemory {
 public:
  // INTERNAL with reason BACKEND_FAILED where the system does not allow to lock so much. `memory` must outlive the
  // result.
  static absl::StatusOr<RegisteredMemory> Register(std::span<std::byte> memory);
  RegisteredMemory() = default;
  ~RegisteredMemory();
  RegisteredMemory(RegisteredMemory&& other) noexcept;
  RegisteredMemory& operator=(RegisteredMemory&& other) noexcept;

  const MappedMemory& mapped() const { return mapped_; }

 private:
  explicit RegisteredMemory(const MappedMemory& mapped) : mapped_(mapped) {}
  MappedMemory mapped_;
};

// Makes the context on GPU `device` of those that the process sees. Whoever waits for the GPU from now on sleeps, where
// CUDA by itself would keep a processor busy. Before all else that needs CUDA. INTERNAL, or RESOURCE_EXHAUSTED.
absl::Status TakeDevice(int device);

// Of the GPU that was taken; all processes counted.
absl::StatusOr<uint64_t> FreeDeviceBytes();

}  // namespace quantd
