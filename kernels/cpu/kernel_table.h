// The loops over blocks that an instruction set provides: everything the CPU backend needs of it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "kernels/backend/backend.h"
#include "kernels/format/format_list.h"
#include "kernels/scheme/scheme.h"

namespace quantd {

// Whole blocks of a tensor, the last of which may be short only where the tensor ends. No pointer need be aligned.
struct EncodeJob {
  const std::byte* values;
  uint64_t element_count;
  uint64_t first_element;  // counted from the tensor's first, for BatchResult
  uint32_t block_size;     // elements, even, at most kBlockElementsMax
  NonfinitePolicy nonfinite;
  std::byte* codes;   // ceil(element_count / 2) bytes
  std::byte* scales;  // float32, one for each block
};

struct DecodeJob {
  const std::byte* codes;
  const std::byte* scales;
  uint64_t element_count;
  uint32_t block_size;
  std::byte* values;
};

inline constexpr uint32_t kBlockElementsMax = 4096;

// Adds what it finds to `result`.
using EncodeFunction = void (*)(const EncodeJob& job, BatchResult& result);
using DecodeFunction = void (*)(const DecodeJob& job);

inline constexpr size_t kArithmeticCount = 2;
inline constexpr size_t kValueTypeCount = 3;

template <class Function>
using ByValueType = std::array<Function, kValueTypeCount>;
template <class Function>
using ByElement = std::array<ByValueType<Function>, kFormats.size()>;

// Indexed by Arithmetic, Element and ValueTypeIndex.
struct KernelTable {
  std::string_view target;
  std::array<ByElement<EncodeFunction>, kArithmeticCount> encode;
  std::array<ByElement<DecodeFunction>, kArithmeticCount> decode;
};

constexpr size_t ValueTypeIndex(DataType type) { return static_cast<size_t>(type) - 1; }
static_assert(ValueTypeIndex(DataType::kFloat32) == 0 && ValueTypeIndex(DataType::kFloat16) == 1 &&
              ValueTypeIndex(DataType::kBFloat16) == 2);

extern const KernelTable kBaselineKernels;  // runs on every machine
extern const KernelTable kAvx2Kernels;      // x86-64 only, as the next
extern const KernelTable kAvx512Kernels;

// What this machine runs, the slowest first; never empty. Found once.
std::span<const KernelTable* const> SupportedKernels();

// The last of them.
const KernelTable& BestKernels();

// A backend on kernels that this machine supports; tests compare one with another.
std::unique_ptr<Backend> MakeCpuBackend(const KernelTable& kernels);

}  // namespace quantd
