// The walk over a row of runs that encoding and decoding share.
#pragma once

#include <algorithm>

#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/value_types.h"

namespace quantd {
namespace {

template <class Values>
inline constexpr size_t kFloatTypeIndexOf =
    FloatTypeIndex(std::is_same_v<Values, Float32Values>   ? DataType::kFloat32
                   : std::is_same_v<Values, Float16Values> ? DataType::kFloat16
                                                           : DataType::kBFloat16);

template <class L, size_t kRun, class Kernel>
void WalkShortRuns(Kernel& kernel, uint64_t element_count) {
  const uint64_t end = element_count / L::kStep * L::kStep;
  for (uint64_t i = 0; i < end; i += L::kStep) kernel.template SharedStep<kRun>(i / kRun, i);
  if (end < element_count) kernel.Rest(end / kRun, end, element_count - end);
}

// Runs of 16 and 32 elements share a step where one has more; all others are walked one by one.
template <class L, class Kernel>
void WalkRuns(Kernel& kernel, uint64_t element_count, uint64_t run_elements) {
  if (run_elements == 16) return WalkShortRuns<L, 16>(kernel, element_count);
  if constexpr (L::kStep > 32) {
    if (run_elements == 32) return WalkShortRuns<L, 32>(kernel, element_count);
  }
  uint64_t run = 0;
  for (uint64_t begin = 0; begin < element_count; begin += run_elements, ++run) {
    kernel.OneRun(run, begin, std::min(run_elements, element_count - begin));
  }
}

}  // namespace
}  // namespace quantd
