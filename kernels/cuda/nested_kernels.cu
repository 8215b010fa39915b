// Scales of blocks as codes: a CTA for each nested block, a thread for each scale. As kernels/cpu/nested_scales.cc.
#include <cfloat>

#include "kernels/cuda/device_formats.cuh"
#include "kernels/cuda/device_jobs.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/format/strict_scales.h"

namespace quantd {
namespace {

constexpr uint32_t kLanes = 32;
constexpr uint32_t kAllLanes = 0xffffffffu;

struct NestedDynamic8 {
  __device__ static RunScale ScaleOf(float absmax) { return DeviceBitsandbytesAbsmax::Make({absmax, 0, 0}, {}); }
  __device__ static uint32_t Encode(float difference, float factor) {
    return OnDevice<Dynamic8>::Encode(MultiplyFtz(difference, factor));
  }
  __device__ static float Decode(uint32_t code, float scale) {
    return MultiplyFtz(OnDevice<Dynamic8>::Decode(code), scale);
  }
};

struct NestedE4m3 {
  __device__ static RunScale ScaleOf(float absmax) {
    return StrictSymmetric<Float32Scale>::Make({absmax, 0, 0}, {.divisor = Fp8E4m3::kLargest});
  }
  __device__ static uint32_t Encode(float difference, float factor) { return Fp8E4m3::Encode(difference / factor); }
  __device__ static float Decode(uint32_t code, float scale) { return Fp8E4m3::Decode(code) * scale; }
};

// To all threads of the CTA.
__device__ float LargestOfCta(float value, float (&of_warps)[kNestedBlockScales / kLanes]) {
  for (uint32_t distance = kLanes / 2; distance > 0; distance /= 2) {
    value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, distance));
  }
  if (threadIdx.x % kLanes == 0) of_warps[threadIdx.x / kLanes] = value;
  __syncthreads();
  for (const float of_warp : of_warps) value = fmaxf(value, of_warp);
  return value;
}

template <class Nested>
__global__ void __launch_bounds__(kNestedBlockScales) EncodeNestedBlocks(DeviceNestedJob job) {
  __shared__ float of_warps[kNestedBlockScales / kLanes];
  const uint64_t index = ThreadIndex();
  const bool is_there = index < job.scale_count;
  const float scale = is_there ? job.scales[index] : 0;
  const float difference = scale - job.offset;
  // As fmaxf finds it from -FLT_MAX up: NaN is passed over, and the padding of a short block counts as 0.
  const float absmax = LargestOfCta(!is_there ? 0 : difference != difference ? -FLT_MAX : fabsf(difference), of_warps);
  const RunScale nested = Nested::ScaleOf(absmax);
  if (is_there) job.codes[index] = static_cast<std::byte>(Nested::Encode(difference, nested.factor));
  if (threadIdx.x == 0) job.nested_scales[blockIdx.x] = __uint_as_float(nested.stored);
  const uint32_t largest = __reduce_max_sync(kAllLanes, __float_as_uint(scale) & 0x7fffffffu);
  if (threadIdx.x % kLanes == 0) atomicMax(&job.findings[blockIdx.x % kFindingsSlots].amax_bits, largest);
}

template <class Nested>
__global__ void __launch_bounds__(kNestedBlockScales) DecodeNestedBlocks(DeviceNestedJob job) {
  const uint64_t index = ThreadIndex();
  if (index >= job.scale_count) return;
  job.scales[index] =
      Nested::Decode(static_cast<uint32_t>(job.codes[index]), job.nested_scales[blockIdx.x]) + job.offset;
}

uint32_t NestedBlocksOf(const DeviceNestedJob& job) {
  return static_cast<uint32_t>((job.scale_count + kNestedBlockScales - 1) / kNestedBlockScales);
}

}  // namespace

void LaunchNestedEncode(const DeviceNestedJob& job, cudaStream_t stream) {
  const uint32_t blocks = NestedBlocksOf(job);
  if (blocks == 0) return;
  if (job.code == NestedCode::kDynamic8) {
    EncodeNestedBlocks<NestedDynamic8><<<blocks, kNestedBlockScales, 0, stream>>>(job);
  } else {
    EncodeNestedBlocks<NestedE4m3><<<blocks, kNestedBlockScales, 0, stream>>>(job);
  }
}

void LaunchNestedDecode(const DeviceNestedJob& job, cudaStream_t stream) {
  const uint32_t blocks = NestedBlocksOf(job);
  if (blocks == 0) return;
  if (job.code == NestedCode::kDynamic8) {
    DecodeNestedBlocks<NestedDynamic8><<<blocks, kNestedBlockScales, 0, stream>>>(job);
  } else {
    DecodeNestedBlocks<NestedE4m3><<<blocks, kNestedBlockScales, 0, stream>>>(job);
  }
}

}  // namespace quantd
