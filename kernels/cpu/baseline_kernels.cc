#include "kernels/cpu/portable_kernels-inl.h"

namespace quantd {

constinit const KernelTable kBaselineKernels = MakeKernelTable<PortableLoops>("scalar");

}  // namespace quantd
