#include "kernels/cpu/portable_kernels-inl.h"

namespace quantd {

constinit const KernelTable kAvx512Kernels = MakeKernelTable<PortableLoops>("avx512");

}  // namespace quantd
