#include "tests/kernels/cuda/device_arithmetic.h"

#include <bit>
#include <stdexcept>

#include "kernels/cuda/chunk_codes.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/run_scales.cuh"

namespace quantd::testing {
namespace {

__global__ void CountWrongReciprocals(uint32_t begin, uint32_t end, unsigned long long* wrong) {
  for (uint64_t bits = begin + uint64_t{blockIdx.x} * blockDim.x + threadIdx.x; bits <= end;
       bits += uint64_t{gridDim.x} * blockDim.x) {
    const float factor = __uint_as_float(static_cast<uint32_t>(bits));
    if (__float_as_uint(UsualReciprocal(factor)) != __float_as_uint(__frcp_rn(factor))) atomicAdd(wrong, 1ull);
  }
}

__global__ void CountWrongQuotients(uint32_t begin, uint32_t end, float divisor, float reciprocal,
                                    unsigned long long* wrong) {
  for (uint64_t bits = begin + uint64_t{blockIdx.x} * blockDim.x + threadIdx.x; bits <= end;
       bits += uint64_t{gridDim.x} * blockDim.x) {
    const float number = __uint_as_float(static_cast<uint32_t>(bits));
    const float quotient = QuotientByKnown(number, divisor, reciprocal);
    if (__float_as_uint(quotient) != __float_as_uint(number / divisor)) atomicAdd(wrong, 1ull);
  }
}

template <class Launch>
uint64_t Counted(const Launch& launch) {
  unsigned long long* wrong = nullptr;
  unsigned long long count = 0;
  cudaMalloc(&wrong, sizeof(count));
  cudaMemset(wrong, 0, sizeof(count));
  launch(wrong);
  if (cudaMemcpy(&count, wrong, sizeof(count), cudaMemcpyDeviceToHost) != cudaSuccess) {
    throw std::runtime_error("counting on the device failed");
  }
  cudaFree(wrong);
  return count;
}

constexpr int kBlocks = 1024;

}  // namespace

uint64_t WrongReciprocals() {
  return Counted([](unsigned long long* wrong) {
    CountWrongReciprocals<<<kBlocks, kBlockThreads>>>(std::bit_cast<uint32_t>(0x1p-80f),
                                                      std::bit_cast<uint32_t>(0x1p100f), wrong);
  });
}

uint64_t WrongQuotients(float divisor, float smallest, float largest) {
  return Counted([=](unsigned long long* wrong) {
    CountWrongQuotients<<<kBlocks, kBlockThreads>>>(std::bit_cast<uint32_t>(smallest), std::bit_cast<uint32_t>(largest),
                                                    divisor, 1 / divisor, wrong);
  });
}

}  // namespace quantd::testing
