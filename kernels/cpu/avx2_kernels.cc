// The loops compiled for AVX2 with FMA, F16C and BMI2.
#if defined(__x86_64__)

// Before the target is chosen: what these define must run on every processor, because the linker keeps one copy of it.
#include <immintrin.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string_view>
#include <type_traits>

#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/reciprocal_tables.h"
#include "kernels/cpu/run_thresholds.h"
#include "kernels/cpu/threshold_bins.h"
#include "kernels/cpu/word_bins.h"
#include "kernels/format/arithmetic.h"
#include "kernels/format/bitsandbytes_scales.h"
#include "kernels/format/compressed_tensors_scales.h"
#include "kernels/format/dynamic8_cells.h"
#include "kernels/format/format_list.h"
#include "kernels/format/ggml.h"
#include "kernels/format/mx_scales.h"
#include "kernels/format/strict_scales.h"
#include "kernels/format/value_types.h"

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

#include "kernels/cpu/avx2_lanes-inl.h"
#include "kernels/cpu/simd_kernels-inl.h"

namespace quantd {

constinit const KernelTable kAvx2Kernels = MakeKernelTable<SimdLoops<Avx2Lanes>>("avx2");

}  // namespace quantd

#pragma GCC pop_options

#endif
