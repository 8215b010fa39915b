// The element codecs and scale methods of kernels/format as device code. What they look up lies in constant memory.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "kernels/format/arithmetic.h"
#include "kernels/format/format_list.h"
#include "kernels/format/value_types.h"

namespace quantd {
namespace {

template <class T, size_t kCount>
struct Table {
  T entries[kCount];
};
template <class T, size_t kCount>
constexpr Table<T, kCount> TableOf(const T (&entries)[kCount]) {
  Table<T, kCount> table{};
  for (size_t i = 0; i < kCount; ++i) table.entries[i] = entries[i];
  return table;
}
template <class T, size_t kCount>
constexpr Table<T, kCount> TableOf(const std::array<T, kCount>& entries) {
  Table<T, kCount> table{};
  for (size_t i = 0; i < kCount; ++i) table.entries[i] = entries[i];
  return table;
}

__constant__ const auto kNf4LevelTable = TableOf(kNf4Levels);
__constant__ const auto kNf4ThresholdTable = TableOf(kNf4Thresholds);
__constant__ const auto kFp4BnbMagnitudeTable = TableOf(kFp4BnbMagnitudes);
__constant__ const auto kFp4BnbThresholdTable = TableOf(kFp4BnbThresholds);
// Larger tables lie in global memory, and so in the first-level cache: lanes of a warp look for different entries,
// which constant memory answers one after another.
__device__ const auto kDynamic8LevelTable = TableOf(kDynamic8LevelBits);
__device__ const auto kDynamic8BoundaryTable = TableOf(kDynamic8Boundaries);

// The codec itself, but for those with tables.
template <class Format>
struct OnDevice : Format {};

template <>
struct OnDevice<Nf4> : Nf4 {
  __device__ static uint32_t Encode(float value) {
    uint32_t rank = 0;
#pragma unroll
    for (size_t k = 0; k < 15; ++k) rank += value > kNf4ThresholdTable.entries[k] ? 1 : 0;
    return rank;
  }
  __device__ static float Decode(uint32_t code) { return kNf4LevelTable.entries[code & 15]; }
};

template <>
struct OnDevice<Fp4Bnb> : Fp4Bnb {
  __device__ static uint32_t Encode(float value) {
    const float magnitude = fabsf(value);
    uint32_t rank = 0;
#pragma unroll
    for (size_t k = 0; k < 7; ++k) rank += magnitude > kFp4BnbThresholdTable.entries[k] ? 1 : 0;
    return (rank ^ (rank & 2) << 1) | (value < 0 ? 8u : 0u);
  }
  __device__ static float Decode(uint32_t code) {
    const float magnitude = kFp4BnbMagnitudeTable.entries[code & 7];
    return (code & 8) != 0 ? -magnitude : magnitude;
  }
};

template <>
struct OnDevice<Dynamic8> : Dynamic8 {
  __device__ static uint32_t Encode(float value) {
    uint32_t code = 0;
#pragma unroll
    for (uint32_t step = 128; step != 0; step /= 2) {
      code += value >= __ldg(&kDynamic8BoundaryTable.entries[code + step - 1]) ? step : 0;
    }
    return code;
  }
  __device__ static float Decode(uint32_t code) {
    return __uint_as_float(__ldg(&kDynamic8LevelTable.entries[code & 255]));
  }
};

// The types of scales by the instructions that round as they do.
struct DeviceFloat16Scale : Float16Scale {
  __device__ static uint32_t ToBits(float value) { return __half_as_ushort(__float2half_rn(value)); }
  __device__ static float FromBits(uint32_t bits) {
    return __half2float(__ushort_as_half(static_cast<unsigned short>(bits)));
  }
};
struct DeviceBFloat16Scale : BFloat16Scale {
  // By the instruction that converts two, which is the quicker one.
  __device__ static uint32_t ToBits(float value) {
    return __bfloat16_as_ushort(__low2bfloat16(__floats2bfloat162_rn(value, 0.0f)));
  }
};

// The instruction that kernels/format/approx_reciprocal.h is the model of.
__device__ inline float InstructionReciprocal(float value) {
  float reciprocal;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(reciprocal) : "f"(value));
  return reciprocal;
}

// 1 / factor, rounded, of factors from 2^-80 to 2^100: as __frcp_rn, without its way for others.
__device__ inline float UsualReciprocal(float factor) {
  const float estimate = InstructionReciprocal(factor);
  return __fmaf_rn(estimate, __fmaf_rn(-factor, estimate, 1.0f), estimate);
}

// Factors of bitsandbytes' methods; the stored scale is theirs.
struct DeviceBitsandbytesAbsmax {
  __device__ static RunScale Make(const RunRange& run, const ScaleParameters&) {
    const float scale = FlushToZero(run.absmax);
    return {Float32Scale::ToBits(scale), InstructionReciprocal(scale), 0};
  }
};
struct DeviceBitsandbytesRow {
  __device__ static RunScale Make(const RunRange& run, const ScaleParameters&) {
    const float scale = FlushToZero(run.absmax);
    return {Float32Scale::ToBits(scale), MultiplyFtz(127.0f, InstructionReciprocal(scale)), 0};
  }
};

template <class Values>
__device__ inline float LoadDeviceValue(const std::byte* values, uint64_t index) {
  return Values::Widen(reinterpret_cast<const typename Values::Bits*>(values)[index]);
}

// Launches of `Launcher<Format, Values>` by element and type: a struct with a static Launch. Null for other kinds.
template <ElementKind kKind, template <class, class> class Launcher, class Launch, class... Formats>
Launch FindByFormat(FormatList<Formats...>, Element element, DataType values) {
  Launch found = nullptr;
  const auto look = [&]<class Format>() {
    if constexpr (Format::kKind == kKind) {
      if (Format::kElement != element) return;
      if (values == DataType::kFloat32) found = &Launcher<Format, Float32Values>::Run;
      if (values == DataType::kFloat16) found = &Launcher<Format, Float16Values>::Run;
      if (values == DataType::kBFloat16) found = &Launcher<Format, BFloat16Values>::Run;
    }
  };
  (look.template operator()<Formats>(), ...);
  return found;
}

}  // namespace
}  // namespace quantd
