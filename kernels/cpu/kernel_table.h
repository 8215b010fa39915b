// The loops that an instruction set provides: everything the CPU backend needs of it.
//
// All work on a row of runs: `run_elements` values that share a scale, one run after another, the last possibly
// shorter. Codes are packed as docs/formats.md says, from a byte's first bit on: a caller with several runs makes sure
// that run_elements codes are whole bytes. No pointer to std::byte need be aligned.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "kernels/backend/backend.h"
#include "kernels/format/format_list.h"
#include "kernels/scheme/recipe.h"

namespace quantd {

struct RunsJob {
  const std::byte* values;
  uint64_t element_count;
  uint64_t run_elements;
};

// Largest magnitude of each run; infinite or NaN if one of its values is, and then the caller looks closer.
using AbsmaxFunction = void (*)(const RunsJob& job, float* absmax);
// Of each run the lowest value or 0, and the highest or 0. Every value is finite.
using RangeFunction = void (*)(const RunsJob& job, float* lowest, float* highest);

struct ScaleJob {
  uint64_t run_count;
  const float* absmax;
  const float* lowest;   // of asymmetric methods only
  const float* highest;  // of asymmetric methods only
  const ScaleParameters* parameters;
  std::byte* stored;  // one scale after another, in Recipe::scale_dtype
  float* factors;
  float* zeros;  // of asymmetric methods only
};
using ScaleFunction = void (*)(const ScaleJob& job);

struct RestoreScaleJob {
  uint64_t run_count;
  const std::byte* stored;
  const ScaleParameters* parameters;
  float* scales;
};
using RestoreScaleFunction = void (*)(const RestoreScaleJob& job);

struct EncodeJob {
  const std::byte* values;
  uint64_t element_count;
  uint64_t run_elements;
  const float* factors;  // one for each run; not negative
  const float* zeros;    // the same, of Transform::kDivideAddZero only; integers
  float lowest;          // transformed values are clamped to [lowest, highest]; NaN passes
  float highest;
  uint32_t code_xor;
  bool ieee_overflow;  // of small floats: no clamping
  bool unsigned_zero;  // of small floats: a transformed -0 has no sign
  std::byte* codes;
  uint64_t next_distance;  // bytes from `values` to what is read soon after, brought near on the way; 0: there is none
};
using EncodeFunction = void (*)(const EncodeJob& job);

struct DecodeJob {
  const std::byte* codes;
  uint64_t element_count;
  uint64_t run_elements;
  const float* scales;  // one for each run; null: the levels are the values
  const float* zeros;   // the same; null: there are none
  uint32_t code_xor;
  std::byte* values;
};
using DecodeFunction = void (*)(const DecodeJob& job);

// Each value times its factor in float32, rounded to the values' type.
struct MultiplyJob {
  const std::byte* values;
  const std::byte* factors;  // float32, one for each value
  uint64_t count;
  std::byte* products;
};
using MultiplyFunction = void (*)(const MultiplyJob& job);

// How far values are from their codes under several scales at once, in units of each scale.
inline constexpr size_t kClipsAtOnce = 4;
inline constexpr size_t kClipLanes = 16;
struct ClipJob {
  const float* values;
  const float* weights;  // one for each value; null: all count the same
  uint64_t count;
  const float* reciprocals;  // of each scale
  const float* zeros;        // the same; null: there are none
  float lowest;              // codes are in [lowest, highest]
  float highest;
  float* sums;  // kClipLanes of squares for each scale, which what follows is added to: value i goes to lane i mod 16
};
using ClipFunction = void (*)(const ClipJob& job);

// Whole blocks of ggml's; the values are finite when they are encoded.
using EncodeBlocksFunction = void (*)(const std::byte* values, uint64_t element_count, std::byte* blocks);
using DecodeBlocksFunction = void (*)(const std::byte* blocks, uint64_t element_count, std::byte* values);

inline constexpr size_t kFloatTypeCount = 3;
constexpr size_t FloatTypeIndex(DataType type) { return static_cast<size_t>(type) - 1; }
static_assert(FloatTypeIndex(DataType::kFloat32) == 0 && FloatTypeIndex(DataType::kFloat16) == 1 &&
              FloatTypeIndex(DataType::kBFloat16) == 2);

template <class Function>
using ByFloatType = std::array<Function, kFloatTypeCount>;
template <class Function>
using ByElement = std::array<ByFloatType<Function>, kFormats.size()>;

struct GgmlFunctions {
  ByFloatType<EncodeBlocksFunction> encode;
  ByFloatType<DecodeBlocksFunction> decode;
};
inline constexpr size_t kGgmlBlockCount = 5;  // q4_0, q4_1, q5_0, q5_1, q8_0
// Of a scheme in ggml's layout.
constexpr size_t GgmlBlockIndex(const Scheme& scheme) {
  if (scheme.element == Element::kInt8) return 4;
  return (scheme.element == Element::kInt5 ? 2 : 0) + (scheme.symmetric ? 0 : 1);
}

// Float types are those of the values, in `scale` and `restore_scale` Recipe::scale_rounding. Null where a combination
// makes no sense.
struct KernelTable {
  std::string_view target;
  ByFloatType<AbsmaxFunction> absmax;
  ByFloatType<RangeFunction> range;
  std::array<ByFloatType<ScaleFunction>, kScaleMethodCount> scale;                 // by ScaleMethod
  std::array<ByFloatType<RestoreScaleFunction>, kScaleMethodCount> restore_scale;  // by ScaleMethod
  std::array<ByElement<EncodeFunction>, kTransformCount> encode;                   // by Transform, Element
  std::array<ByElement<DecodeFunction>, kRestoreCount> decode;                     // by Restore, Element
  ByFloatType<MultiplyFunction> multiply;
  std::array<GgmlFunctions, kGgmlBlockCount> ggml;  // by GgmlBlockIndex
  ClipFunction clip_errors;
};

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
