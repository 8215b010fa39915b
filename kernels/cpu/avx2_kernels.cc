#include "kernels/cpu/portable_kernels-inl.h"

namespace quantd {

constinit const KernelTable kAvx2Kernels = MakeKernelTable<PortableLoops>("avx2");

}  // namespace quantd
