#include "kernels/cpu/block_kernels-inl.h"

namespace quantd {

constinit const KernelTable kBaselineKernels = MakeKernelTable<PortableLoops>("scalar");

}  // namespace quantd
