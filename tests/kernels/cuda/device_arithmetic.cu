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

// A thread has sixteen neighbours of the values, and a scale.
template <class Format, class Values, class Scale>
__global__ void CountWrongZeroPointCodes(FusedRules rules, unsigned long long* wrong) {
  using Codec = ZeroPointChunkCodec<Format, true>;
  constexpr int kZeroStep = Format::kBits == 8 ? 15 : 1;
  const auto thread = static_cast<uint32_t>(ThreadIndex());
  const uint32_t first = thread % 4096 * kChunkElements;
  const float factor = Scale::FromBits(thread / 4096);
  const Chunk<Values> chunk([first](uint32_t vector) {
    const auto pair = [&](uint32_t i) { return (first + vector * 8 + i * 2) * 0x00010001u + 0x00010000u; };
    return make_uint4(pair(0), pair(1), pair(2), pair(3));
  });
  const Codec codec(rules);
  for (auto zero = static_cast<int>(rules.lowest); zero <= static_cast<int>(rules.highest); zero += kZeroStep) {
    const Quotients<Transform::kDivideAddZero, 0> quotients(factor, static_cast<float>(zero));
    if (!quotients.IsUsual(factor, __uint_as_float(chunk.Absmax()))) return;
    uint32_t words[kChunkWords<Format>];
    codec.Encode(chunk, quotients, 0, words);
    uint32_t count = 0;
#pragma unroll
    for (int i = 0; i < static_cast<int>(kChunkElements); ++i) {
      const float value = chunk[i];
      const uint32_t code = words[i * Format::kBits / 32] >> (i * Format::kBits % 32) & ((1u << Format::kBits) - 1);
      const float sum = Transformed<Transform::kDivideAddZero>(value, factor, static_cast<float>(zero));
      count += code == Encoded<OnDevice<Format>>(sum, value, rules) ? 0 : 1;
    }
    if (count > 0) atomicAdd(wrong, count);
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

uint64_t WrongZeroPointCodes(DataType values, DataType scale, int bits) {
  const auto half = static_cast<float>(1 << (bits - 1));
  FusedRules rules{};
  rules.method = ScaleMethod::kStrictAsymmetric;
  rules.rounding = scale;
  rules.lowest = -half;
  rules.highest = half - 1;
  return Counted([&](unsigned long long* wrong) {
    const auto count = [&]<class Format, class Values, class Scale>() {
      CountWrongZeroPointCodes<Format, Values, Scale><<<(1 << 27) / kBlockThreads, kBlockThreads>>>(rules, wrong);
    };
    const auto of_values = [&]<class Format, class Values>() {
      if (scale == DataType::kFloat16) return count.template operator()<Format, Values, DeviceFloat16Scale>();
      count.template operator()<Format, Values, DeviceBFloat16Scale>();
    };
    const auto of_format = [&]<class Format>() {
      if (values == DataType::kFloat16) return of_values.template operator()<Format, Float16Values>();
      of_values.template operator()<Format, BFloat16Values>();
    };
    if (bits == 4) return of_format.template operator()<Int4>();
    of_format.template operator()<Int8>();
  });
}

}  // namespace quantd::testing
