// Ranges of runs, a warp for each, and of a whole tensor.
#include "kernels/cuda/chunk.cuh"
#include "kernels/cuda/device_formats.cuh"
#include "kernels/cuda/device_jobs.h"
#include "kernels/cuda/findings.cuh"
#include "kernels/cuda/launch.cuh"

namespace quantd {
namespace {

constexpr uint32_t kWarpThreads = 32;
constexpr uint32_t kAllLanes = 0xffffffffu;

// As integers, because these order as magnitudes do and NaN is above all of them.
template <class Values, bool kAsymmetric>
__global__ void FindRanges(DeviceRangeJob job) {
  const uint64_t row_runs = job.runs.row_runs();
  const uint64_t run_count = job.runs.run_count();
  const uint32_t lane = threadIdx.x % kWarpThreads;
  uint32_t amax_of_all = 0;
  uint32_t lowest_of_all = 0;
  uint32_t highest_of_all = 0;
  for (uint64_t run = ThreadIndex() / kWarpThreads; run < run_count; run += ThreadCount() / kWarpThreads) {
    const uint64_t band = run / row_runs;
    const uint64_t begin = run % row_runs * job.runs.run_elements;
    const uint64_t end = min(begin + job.runs.run_elements, job.runs.row_elements);
    const uint64_t end_row = min((band + 1) * job.runs.band_rows, job.runs.rows);
    uint32_t amax = 0;
    uint32_t lowest = 0;
    uint32_t highest = 0;
    for (uint64_t row = band * job.runs.band_rows; row < end_row; ++row) {
      for (uint64_t i = begin + lane; i < end; i += kWarpThreads) {
        const float value = LoadDeviceValue<Values>(job.values, row * job.runs.row_elements + i);
        const uint32_t magnitude = __float_as_uint(value) & 0x7fffffffu;
        amax = max(amax, magnitude);
        if constexpr (kAsymmetric) {
          if (value < 0) lowest = max(lowest, magnitude);
          if (value > 0) highest = max(highest, magnitude);
        }
      }
    }
    amax = __reduce_max_sync(kAllLanes, amax);
    if constexpr (kAsymmetric) {
      lowest = __reduce_max_sync(kAllLanes, lowest);
      highest = __reduce_max_sync(kAllLanes, highest);
    }
    amax_of_all = max(amax_of_all, amax);
    lowest_of_all = max(lowest_of_all, lowest);
    highest_of_all = max(highest_of_all, highest);
    if (lane != 0) continue;
    job.absmax[run] = __uint_as_float(amax);
    if constexpr (kAsymmetric) {
      job.lowest[run] = lowest == 0 ? 0.0f : -__uint_as_float(lowest);
      job.highest[run] = __uint_as_float(highest);
    }
  }
  if (lane != 0) return;
  MergeFinding(job.findings, &DeviceFindings::amax, blockIdx.x, amax_of_all);
  if constexpr (kAsymmetric) {
    MergeFinding(job.findings, &DeviceFindings::lowest, blockIdx.x, lowest_of_all);
    MergeFinding(job.findings, &DeviceFindings::highest, blockIdx.x, highest_of_all);
  }
}

template <class Values>
void LaunchRange(const DeviceRangeJob& job, cudaStream_t stream) {
  const uint32_t blocks = BlocksFor(job.runs.run_count() * kWarpThreads);
  if (blocks == 0) return;
  if (job.lowest == nullptr) {
    FindRanges<Values, false><<<blocks, kBlockThreads, 0, stream>>>(job);
  } else {
    FindRanges<Values, true><<<blocks, kBlockThreads, 0, stream>>>(job);
  }
}

// Four chunks of a thread are under way at once.
template <class Values>
__global__ void __launch_bounds__(kBlockThreads)
    FindTensorRange(const std::byte* values, uint64_t chunk_count, FindingsTarget findings) {
  constexpr uint32_t kAtOnce = 4;
  DeviceRange range;
  for (uint64_t first = ThreadIndex(); first < chunk_count; first += kAtOnce * ThreadCount()) {
    Chunk<Values> chunks[kAtOnce];
#pragma unroll
    for (uint32_t i = 0; i < kAtOnce; ++i) {
      const uint64_t index = first + i * ThreadCount();
      chunks[i] = Chunk<Values>(values + (index < chunk_count ? index : first) * Chunk<Values>::kBytes);
    }
#pragma unroll
    for (const Chunk<Values>& chunk : chunks) {
      const DeviceRange more = chunk.Range();
      range = {max(range.lowest, more.lowest), max(range.highest, more.highest)};
    }
  }
  range = {__reduce_max_sync(kAllLanes, range.lowest), __reduce_max_sync(kAllLanes, range.highest)};
  if (threadIdx.x % kWarpThreads != 0) return;
  MergeFinding(findings, &DeviceFindings::amax, blockIdx.x, range.absmax());
  MergeFinding(findings, &DeviceFindings::lowest, blockIdx.x, range.lowest);
  MergeFinding(findings, &DeviceFindings::highest, blockIdx.x, range.highest);
}

template <class Values>
void LaunchTensorRangeOf(const DeviceTensorRangeJob& job, cudaStream_t stream) {
  constexpr uint32_t kBlocksMax = 132 * 8 * 4;
  const uint64_t chunks = job.element_count / kChunkElements;
  if (chunks > 0) {
    FindTensorRange<Values>
        <<<min(BlocksFor(chunks), kBlocksMax), kBlockThreads, 0, stream>>>(job.values, chunks, job.findings);
  }
}

}  // namespace

uint64_t LaunchTensorRange(const DeviceTensorRangeJob& job, DataType values, cudaStream_t stream) {
  WithValues(values, [&]<class Values>(Values) { LaunchTensorRangeOf<Values>(job, stream); });
  return job.element_count / kChunkElements * kChunkElements;
}

RangeLaunch FindRangeLaunch(DataType values) {
  if (values == DataType::kFloat32) return &LaunchRange<Float32Values>;
  if (values == DataType::kFloat16) return &LaunchRange<Float16Values>;
  if (values == DataType::kBFloat16) return &LaunchRange<BFloat16Values>;
  return nullptr;
}

}  // namespace quantd
