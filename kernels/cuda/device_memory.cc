#include "kernels/cuda/device_memory.h"

#include "absl/strings/str_cat.h"
#include "kernels/base/status_macros.h"
#include "kernels/cuda/cuda_status.h"

namespace quantd {

absl::Status DeviceBuffer::Reserve(uint64_t bytes) {
  if (bytes <= bytes_) return absl::OkStatus();
  memory_.reset();
  bytes_ = 0;
  if (budget_ != nullptr && !budget_->TryTake(bytes)) {
    return absl::ResourceExhaustedError(absl::StrCat("a batch needs ", bytes, " more bytes of the GPU, and ",
                                                     budget_->taken_bytes(), " of ", budget_->bytes_max(),
                                                     " are taken"));
  }
  void* memory = nullptr;
  if (const cudaError_t error = cudaMalloc(&memory, bytes); error != cudaSuccess) {
    if (budget_ != nullptr) budget_->GiveBack(bytes);
    cudaGetLastError();  // it would be reported again by the next launch
    return StatusOf(error, "allocating memory of the GPU");
  }
  memory_ = {static_cast<std::byte*>(memory), Free{budget_, bytes}};
  bytes_ = bytes;
  return absl::OkStatus();
}

void DeviceBuffer::Free::operator()(std::byte* memory) const {
  cudaFree(memory);
  if (budget != nullptr) budget->GiveBack(bytes);
}

absl::StatusOr<PinnedBuffer> PinnedBuffer::Make(uint64_t bytes) {
  void* memory = nullptr;
  if (const cudaError_t error = cudaHostAlloc(&memory, bytes, cudaHostAllocDefault); error != cudaSuccess) {
    cudaGetLastError();
    return StatusOf(error, "allocating memory with fixed pages");
  }
  PinnedBuffer buffer;
  buffer.memory_.reset(static_cast<std::byte*>(memory));
  return buffer;
}

void PinnedBuffer::Free::operator()(std::byte* memory) const { cudaFreeHost(memory); }

absl::StatusOr<Stream> Stream::Make() {
  cudaStream_t made = nullptr;
  QUANTD_RETURN_IF_ERROR(StatusOf(cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking), "making a stream"));
  Stream stream;
  stream.stream_.reset(made);
  return stream;
}

void Stream::Destroy::operator()(cudaStream_t stream) const { cudaStreamDestroy(stream); }

}  // namespace quantd
