// The walk over a row of runs that encoding and decoding share.
#pragma once

#include <algorithm>

#include "kernels/cpu/kernel_table.h"
#include "kernels/format/value_types.h"

namespace quantd {
namespace {

template <class Values>
inline constexpr size_t kFloatTypeIndexOf =
    FloatTypeIndex(std::is_same_v<Values, Float32Values>   ? DataType::kFloat32
                   : std::is_same_v<Values, Float16Values> ? DataType::kFloat16
                                                           : DataType::kBFloat16);

// Runs whose steps are done with what is prepared for as many runs as a register has lanes. kRun: run_elements, or
// kStep for multiples of it.
template <class L, size_t kRun, class Kernel>
void WalkPrepared(Kernel& kernel, uint64_t element_count, uint64_t run_elements) {
  const uint64_t steps_per_run = std::max<uint64_t>(1, run_elements / L::kStep);
  const uint64_t whole = element_count / (steps_per_run * L::kStep) * (steps_per_run * L::kStep);
  uint64_t begin = 0;
  uint64_t run = 0;
  while (begin < whole) {
    const uint64_t prepared_end = std::min(begin + L::kLanes * run_elements, whole);
    kernel.Prepare(run, (prepared_end - begin) / run_elements);
    uint64_t steps_left = steps_per_run;
    const auto advance = [&] {
      begin += L::kStep;
      if constexpr (kRun < L::kStep) {
        run += L::kStep / kRun;
      } else if (--steps_left == 0) {
        steps_left = steps_per_run;
        ++run;
      }
    };
    while (begin < prepared_end) {
      // No call within, because it would take the constants out of their registers.
      while (begin < prepared_end && kernel.template PreparedStep<kRun>(run, begin)) advance();
      if (begin == prepared_end) break;
      kernel.template SlowStep<kRun>(run, begin);
      advance();
    }
  }
  for (; begin < element_count; begin += run_elements, ++run) {
    kernel.OneRun(run, begin, std::min(run_elements, element_count - begin));
  }
}

template <class L, class Kernel>
void WalkRuns(Kernel& kernel, uint64_t element_count, uint64_t run_elements) {
  if (run_elements == 16) return WalkPrepared<L, 16>(kernel, element_count, run_elements);
  if constexpr (L::kStep > 32) {
    if (run_elements == 32) return WalkPrepared<L, 32>(kernel, element_count, run_elements);
  }
  if constexpr (Kernel::kPreparesLongRuns) {
    constexpr uint64_t kPreparedStepsMax = 16;
    if (run_elements % L::kStep == 0 && run_elements / L::kStep <= kPreparedStepsMax) {
      return WalkPrepared<L, L::kStep>(kernel, element_count, run_elements);
    }
  }
  uint64_t run = 0;
  for (uint64_t begin = 0; begin < element_count; begin += run_elements, ++run) {
    kernel.OneRun(run, begin, std::min(run_elements, element_count - begin));
  }
}

// One number for each of kLanes runs; those behind the last of `count` repeat the first.
template <class L>
inline typename L::Float LoadRuns(const float* numbers, uint64_t count) {
  if (count == L::kLanes) return L::LoadFloats(numbers);
  alignas(64) float padded[L::kLanes];
  for (size_t i = 0; i < L::kLanes; ++i) padded[i] = numbers[i < count ? i : 0];
  return L::LoadFloats(padded);
}

template <class L>
inline bool AllBetween(typename L::Float a, float low, float high) {
  return !L::Any(L::Greater(L::Splat(low), a)) && !L::Any(L::Greater(a, L::Splat(high))) && !L::AnyNan(a, a, a, a);
}

}  // namespace
}  // namespace quantd
