// The loops that run on every machine, and which of the others this one has.
#include <vector>

#include "kernels/calibrate/portable_count-inl.h"
#include "kernels/cpu/kernel_table.h"

namespace quantd {

constinit const CountKernels kBaselineCountKernels = {
    "scalar",
    {PortableRun<Float32Values>, PortableRun<Float16Values>, PortableRun<BFloat16Values>},
    {RunByRun<Float32Values, PortableRun<Float32Values>>, RunByRun<Float16Values, PortableRun<Float16Values>>,
     RunByRun<BFloat16Values, PortableRun<BFloat16Values>>},
    {PortableColumns<Float32Values>, PortableColumns<Float16Values>, PortableColumns<BFloat16Values>},
    PortableCount32};

std::span<const CountKernels* const> SupportedCountKernels() {
  static const std::vector<const CountKernels*> supported = [] {
    std::vector<const CountKernels*> kernels;
    for (const KernelTable* const table : SupportedKernels()) {
      for (const CountKernels* const candidate : {&kBaselineCountKernels,
#if defined(__x86_64__)
                                                  &kAvx2CountKernels, &kAvx512CountKernels
#endif
           }) {
        if (candidate->target == table->target) kernels.push_back(candidate);
      }
    }
    return kernels;
  }();
  return supported;
}

const CountKernels& BestCountKernels() { return *SupportedCountKernels().back(); }

}  // namespace quantd
