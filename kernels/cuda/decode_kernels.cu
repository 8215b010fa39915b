// Values from codes: a thread for eight of them.
#include "kernels/cuda/code_reader.cuh"
#include "kernels/cuda/device_formats.cuh"
#include "kernels/cuda/device_jobs.h"
#include "kernels/cuda/launch.cuh"

namespace quantd {
namespace {

constexpr uint32_t kCodesOfThread = 8;

template <Restore kRestore, class Format, class Values>
__global__ void DecodeRows(DeviceDecodeJob job) {
  using Codec = OnDevice<Format>;
  using Bits = typename Values::Bits;
  const RunGeometry& runs = job.runs;
  const uint64_t row_threads = (runs.row_elements + kCodesOfThread - 1) / kCodesOfThread;
  const uint64_t row_runs = runs.row_runs();
  for (uint64_t item = ThreadIndex(); item < runs.rows * row_threads; item += ThreadCount()) {
    const uint64_t row = item / row_threads;
    const uint64_t begin = item % row_threads * kCodesOfThread;
    const uint64_t end = min(begin + kCodesOfThread, runs.row_elements);
    const std::byte* const codes = job.codes + row * runs.row_code_bytes;
    float scale = 0;
    float zero = 0;
    uint64_t run_end = begin;
    for (uint64_t i = begin; i < end; ++i) {
      if (i >= run_end && job.scales != nullptr) {
        const uint64_t run_of_row = i / runs.run_elements;
        const uint64_t run = row / runs.band_rows * row_runs + run_of_row;
        run_end = (run_of_row + 1) * runs.run_elements;
        scale = job.scales[run];
        if (job.zeros != nullptr) zero = job.zeros[run];
        if (job.zero_points != nullptr) zero = static_cast<float>(job.zero_points[run]);
      }
      const uint32_t code = DeviceCodeAt<Format>(codes, i) ^ job.code_xor;
      const Bits bits = job.scales == nullptr ? Values::Cast(Codec::Decode(code))
                                              : Values::Narrow(Restored<kRestore, Codec>(code, scale, zero));
      reinterpret_cast<Bits*>(job.values)[row * runs.row_elements + i] = bits;
    }
  }
}

template <Restore kRestore, class Format, class Values>
struct DecodeLauncher {
  static void Run(const DeviceDecodeJob& job, cudaStream_t stream) {
    const uint64_t threads = job.runs.rows * ((job.runs.row_elements + kCodesOfThread - 1) / kCodesOfThread);
    if (threads > 0) DecodeRows<kRestore, Format, Values><<<BlocksFor(threads), kBlockThreads, 0, stream>>>(job);
  }
};
template <class Format, class Values>
using MultiplyLauncher = DecodeLauncher<Restore::kMultiply, Format, Values>;
template <class Format, class Values>
using MultiplyFtzLauncher = DecodeLauncher<Restore::kMultiplyFtz, Format, Values>;
template <class Format, class Values>
using LlmInt8Launcher = DecodeLauncher<Restore::kLlmInt8, Format, Values>;

template <ElementKind kKind, template <class, class> class Launcher>
DecodeLaunch Find(Element element, DataType values) {
  return FindByFormat<kKind, Launcher, DecodeLaunch>(AllFormats{}, element, values);
}

}  // namespace

DecodeLaunch FindDecodeLaunch(Restore restore, Element element, DataType values) {
  const ElementKind kind = InfoOf(element).kind;
  if (restore == Restore::kMultiply) {
    if (kind == ElementKind::kLevels) return Find<ElementKind::kLevels, MultiplyLauncher>(element, values);
    if (kind == ElementKind::kMiniFloat) return Find<ElementKind::kMiniFloat, MultiplyLauncher>(element, values);
    if (kind == ElementKind::kInteger) return Find<ElementKind::kInteger, MultiplyLauncher>(element, values);
    return Find<ElementKind::kCast, MultiplyLauncher>(element, values);
  }
  if (restore == Restore::kMultiplyFtz) return Find<ElementKind::kLevels, MultiplyFtzLauncher>(element, values);
  if (element != Element::kInt8) return nullptr;
  return FindByFormat<ElementKind::kInteger, LlmInt8Launcher, DecodeLaunch>(FormatList<Int8>{}, element, values);
}

}  // namespace quantd
