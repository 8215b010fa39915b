// Scales of runs from their ranges, and floats from stored scales: a thread for each.
#include "kernels/cuda/device_formats.cuh"
#include "kernels/cuda/device_jobs.h"
#include "kernels/cuda/fused_geometry.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/format/bitsandbytes_scales.h"
#include "kernels/format/compressed_tensors_scales.h"
#include "kernels/format/mx_scales.h"
#include "kernels/format/strict_scales.h"

namespace quantd {
namespace {

template <class Method, class Stored>
__global__ void MakeScales(DeviceScaleJob job) {
  for (uint64_t i = ThreadIndex(); i < job.run_count; i += ThreadCount()) {
    const bool asymmetric = job.lowest != nullptr;
    const RunScale scale = Method::Make(
        {job.absmax[i], asymmetric ? job.lowest[i] : 0.0f, asymmetric ? job.highest[i] : 0.0f}, job.parameters);
    reinterpret_cast<Stored*>(job.stored)[i] = static_cast<Stored>(scale.stored);
    job.factors[i] = scale.factor;
    if (job.zeros != nullptr) job.zeros[i] = scale.zero;
    if (job.zero_points != nullptr) job.zero_points[i] = static_cast<int8_t>(scale.zero);
  }
}

template <class Method, class Stored>
__global__ void RestoreScales(DeviceRestoreScaleJob job) {
  for (uint64_t i = ThreadIndex(); i < job.run_count; i += ThreadCount()) {
    job.scales[i] = Method::Restore(reinterpret_cast<const Stored*>(job.stored)[i], job.parameters);
  }
}

template <class Method, class Stored>
void LaunchScales(const DeviceScaleJob& job, cudaStream_t stream) {
  if (job.run_count > 0) MakeScales<Method, Stored><<<BlocksFor(job.run_count), kBlockThreads, 0, stream>>>(job);
}
template <class Method, class Stored>
void LaunchRestore(const DeviceRestoreScaleJob& job, cudaStream_t stream) {
  if (job.run_count > 0) RestoreScales<Method, Stored><<<BlocksFor(job.run_count), kBlockThreads, 0, stream>>>(job);
}

struct Launches {
  ScaleLaunch scale = nullptr;
  RestoreScaleLaunch restore = nullptr;
};
template <class Method, class Stored, class Restoring = Method>
constexpr Launches Of() {
  return {&LaunchScales<Method, Stored>, &LaunchRestore<Restoring, Stored>};
}
template <template <class> class Method, class Stored32, class Stored16>
Launches OfRounding(DataType rounding) {
  if (rounding == DataType::kFloat16) return Of<Method<Float16Scale>, Stored16>();
  if (rounding == DataType::kBFloat16) return Of<Method<BFloat16Scale>, Stored16>();
  return Of<Method<Float32Scale>, Stored32>();
}

Launches Find(ScaleMethod method, DataType rounding) {
  switch (method) {
    case ScaleMethod::kBitsandbytesAbsmax:
      return Of<DeviceBitsandbytesAbsmax, uint32_t, BitsandbytesAbsmax>();
    case ScaleMethod::kBitsandbytesRow:
      return Of<DeviceBitsandbytesRow, uint32_t, BitsandbytesRow>();
    case ScaleMethod::kStrictAbsmax:
      return OfRounding<StrictAbsmax, uint32_t, uint16_t>(rounding);
    case ScaleMethod::kStrictSymmetric:
      return OfRounding<StrictSymmetric, uint32_t, uint16_t>(rounding);
    case ScaleMethod::kStrictAsymmetric:
      return OfRounding<StrictAsymmetric, uint32_t, uint16_t>(rounding);
    case ScaleMethod::kCompressedTensorsSymmetric:
      return OfRounding<CompressedTensorsSymmetric, uint32_t, uint16_t>(rounding);
    case ScaleMethod::kCompressedTensorsAsymmetric:
      return OfRounding<CompressedTensorsAsymmetric, uint32_t, uint16_t>(rounding);
    case ScaleMethod::kCompressedTensorsNvfp4:
      return OfRounding<CompressedTensorsNvfp4, uint8_t, uint8_t>(rounding);
    case ScaleMethod::kCompressedTensorsMx:
      return rounding == DataType::kFloat16 ? Of<CompressedTensorsMx<true>, uint8_t>()
                                            : Of<CompressedTensorsMx<false>, uint8_t>();
    case ScaleMethod::kMxFloor:
      return Of<MxFloor, uint8_t>();
    case ScaleMethod::kMxCeil:
      return Of<MxCeil, uint8_t>();
    case ScaleMethod::kMxEven:
      return Of<MxEven, uint8_t>();
    case ScaleMethod::kMxRceil:
      return Of<MxRceil, uint8_t>();
    case ScaleMethod::kNone:
    case ScaleMethod::kGgml:
      return {};
  }
  return {};
}

__global__ void __launch_bounds__(kBlockThreads) PackZeroPoints(DevicePackJob job, Divisor row_runs, uint32_t words) {
  for (auto i = static_cast<uint32_t>(ThreadIndex()); i < words; i += static_cast<uint32_t>(ThreadCount())) {
    const uint32_t band = row_runs.Quotient(i);
    const auto rows = static_cast<uint32_t>(min(job.rows - uint64_t{band} * 8, uint64_t{8}));
    const int8_t* zero_point = job.zero_points + uint64_t{band} * 8 * row_runs.divisor + row_runs.Remainder(i, band);
    int8_t column[8];
#pragma unroll
    for (uint32_t row = 0; row < 8; ++row, zero_point += row_runs.divisor) column[row] = row < rows ? *zero_point : -8;
    uint32_t word = 0;
#pragma unroll
    for (uint32_t row = 0; row < 8; ++row) word |= static_cast<uint32_t>(column[row] + 8) << (row * 4);
    job.words[i] = word;
  }
}

__global__ void UnpackZeroPoints(DevicePackJob job) {
  for (uint64_t i = ThreadIndex(); i < job.rows * job.row_runs; i += ThreadCount()) {
    const uint64_t row = i / job.row_runs;
    const uint32_t word = job.words[row / 8 * job.row_runs + i % job.row_runs];
    job.zero_points[i] = static_cast<int8_t>(static_cast<int32_t>(word >> (row % 8 * 4) & 15) - 8);
  }
}

}  // namespace

ScaleLaunch FindScaleLaunch(ScaleMethod method, DataType rounding) { return Find(method, rounding).scale; }
RestoreScaleLaunch FindRestoreScaleLaunch(ScaleMethod method, DataType rounding) {
  return Find(method, rounding).restore;
}

void LaunchPackZeroPoints(const DevicePackJob& job, cudaStream_t stream) {
  const uint64_t words = (job.rows + 7) / 8 * job.row_runs;
  if (words == 0) return;
  PackZeroPoints<<<BlocksFor(words), kBlockThreads, 0, stream>>>(job, Divisor(static_cast<uint32_t>(job.row_runs)),
                                                                 static_cast<uint32_t>(words));
}
void LaunchUnpackZeroPoints(const DevicePackJob& job, cudaStream_t stream) {
  const uint64_t zeros = job.rows * job.row_runs;
  if (zeros > 0) UnpackZeroPoints<<<BlocksFor(zeros), kBlockThreads, 0, stream>>>(job);
}

}  // namespace quantd
