#include "kernels/cpu/kernel_table.h"

namespace quantd {

const KernelTable& BestKernels() { return kBaselineKernels; }

}  // namespace quantd
