// AVX2: the portable loops, compiled for it.
#if defined(__x86_64__)

// Before the target is chosen: what these define must run on every processor, because the linker keeps one copy of it.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string_view>

#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/value_types.h"
#include "kernels/format/block_arithmetic.h"
#include "kernels/format/format_list.h"

#pragma GCC push_options
#pragma GCC target("avx2,bmi,bmi2,lzcnt,popcnt")

#include "kernels/cpu/block_kernels-inl.h"

namespace quantd {

constinit const KernelTable kAvx2Kernels = MakeKernelTable<PortableLoops>("avx2");

}  // namespace quantd

#pragma GCC pop_options

#endif
