#include "kernels/cpu/kernel_table.h"

#include <vector>

namespace quantd {
namespace {

std::vector<const KernelTable*> FindSupportedKernels() {
  std::vector<const KernelTable*> supported = {&kBaselineKernels};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c") &&
      __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2")) {
    supported.push_back(&kAvx2Kernels);
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl")) {
      supported.push_back(&kAvx512Kernels);
    }
  }
#endif
  return supported;
}

}  // namespace

std::span<const KernelTable* const> SupportedKernels() {
  static const std::vector<const KernelTable*> supported = FindSupportedKernels();
  return supported;
}

const KernelTable& BestKernels() { return *SupportedKernels().back(); }

}  // namespace quantd
