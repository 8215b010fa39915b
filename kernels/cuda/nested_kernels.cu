// Scales of blocks as codes where no kernel of values makes or takes them: a CTA for each nested block, a thread for
// each scale.
#include "kernels/cuda/device_jobs.h"
#include "kernels/cuda/findings.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/nested_codes.cuh"

namespace quantd {
namespace {

__global__ void __launch_bounds__(kNestedBlockScales) EncodeNestedBlocks(const __grid_constant__ DeviceNestedJob job) {
  const uint64_t first = uint64_t{blockIdx.x} * kNestedBlockScales;
  const auto count = static_cast<uint32_t>(min(job.scale_count - first, uint64_t{kNestedBlockScales}));
  EncodeNestedBlock(job.code, job.scales + first, count, job.offset, job.codes + first, job.nested_scales + blockIdx.x);
  const float scale = threadIdx.x < count ? job.scales[first + threadIdx.x] : 0;
  const uint32_t largest = __reduce_max_sync(kEveryLane, __float_as_uint(scale) & 0x7fffffffu);
  if (threadIdx.x % 32 == 0) MergeFinding(job.findings, &DeviceFindings::amax, blockIdx.x, largest);
}

__global__ void __launch_bounds__(kNestedBlockScales) DecodeNestedBlocks(const __grid_constant__ DeviceNestedJob job) {
  const uint64_t index = ThreadIndex();
  if (index >= job.scale_count) return;
  job.scales[index] =
      DecodeNestedScale(job.code, static_cast<uint32_t>(job.codes[index]), job.nested_scales[blockIdx.x], job.offset);
}

uint32_t NestedBlocksOf(const DeviceNestedJob& job) {
  return static_cast<uint32_t>((job.scale_count + kNestedBlockScales - 1) / kNestedBlockScales);
}

}  // namespace

void LaunchNestedEncode(const DeviceNestedJob& job, cudaStream_t stream) {
  if (const uint32_t blocks = NestedBlocksOf(job); blocks > 0) {
    EncodeNestedBlocks<<<blocks, kNestedBlockScales, 0, stream>>>(job);
  }
}

void LaunchNestedDecode(const DeviceNestedJob& job, cudaStream_t stream) {
  if (const uint32_t blocks = NestedBlocksOf(job); blocks > 0) {
    DecodeNestedBlocks<<<blocks, kNestedBlockScales, 0, stream>>>(job);
  }
}

}  // namespace quantd
