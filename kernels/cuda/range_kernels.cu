// Ranges of runs, a warp for each.
#include "kernels/cuda/device_formats.cuh"
#include "kernels/cuda/device_jobs.h"
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
  DeviceFindings& findings = job.findings[blockIdx.x % kFindingsSlots];
  atomicMax(&findings.amax_bits, amax_of_all);
  if constexpr (kAsymmetric) {
    atomicMax(&findings.lowest_bits, lowest_of_all);
    atomicMax(&findings.highest_bits, highest_of_all);
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

}  // namespace

RangeLaunch FindRangeLaunch(DataType values) {
  if (values == DataType::kFloat32) return &LaunchRange<Float32Values>;
  if (values == DataType::kFloat16) return &LaunchRange<Float16Values>;
  if (values == DataType::kBFloat16) return &LaunchRange<BFloat16Values>;
  return nullptr;
}

}  // namespace quantd
