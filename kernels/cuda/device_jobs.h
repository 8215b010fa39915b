// What the device's loops work on, and the loops themselves as functions that launch them. The counterpart of
// kernels/cpu/kernel_table.h: all pointers are to device memory, and nothing has happened yet when a launch returns.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/base/data_type.h"
#include "kernels/cuda/launch_policy.h"
#include "kernels/format/element.h"
#include "kernels/scheme/recipe.h"

namespace quantd {

// Rows of runs. Rows in bands of `band_rows` share their scales, which lie one band after another, runs from the left.
struct RunGeometry {
  uint64_t rows;
  uint64_t row_elements;
  uint64_t run_elements;
  uint64_t band_rows;
  uint64_t row_code_bytes;  // codes of a row begin at a multiple of it

  constexpr uint64_t row_runs() const { return (row_elements + run_elements - 1) / run_elements; }
  constexpr uint64_t bands() const { return (rows + band_rows - 1) / band_rows; }
  constexpr uint64_t run_count() const { return bands() * row_runs(); }

  bool operator==(const RunGeometry&) const = default;
};

// Magnitude bits in the lower halves: infinity's or above if a value is not finite. The upper halves have the number of
// the launch that found them, so that what earlier ones have left is below it and nobody clears it. Threads merge
// theirs into one of kFindingsSlots, each in a sector of its own, so that they do not wait for each other.
struct alignas(32) DeviceFindings {
  uint64_t amax;
  uint64_t lowest;   // of a value that is at most 0: ordered as its magnitude is
  uint64_t highest;  // of a value that is at least 0
};

inline constexpr uint32_t kFindingsSlots = 256;

struct FindingsTarget {
  DeviceFindings* slots;  // kFindingsSlots; no half is above `launch` before
  uint32_t launch;
};

struct DeviceRangeJob {
  const std::byte* values;
  RunGeometry runs;
  float* absmax;   // one for each run
  float* lowest;   // the same; null unless zero points are made of them
  float* highest;  // the same
  FindingsTarget findings;
};
using RangeLaunch = void (*)(const DeviceRangeJob& job, cudaStream_t stream);

struct DeviceScaleJob {
  uint64_t run_count;
  const float* absmax;
  const float* lowest;   // null: symmetric
  const float* highest;  // the same
  ScaleParameters parameters;
  std::byte* stored;
  float* factors;
  float* zeros;         // null: symmetric
  int8_t* zero_points;  // the same as integers; null: there are none, or one of the tensor's
};
using ScaleLaunch = void (*)(const DeviceScaleJob& job, cudaStream_t stream);

struct DeviceRestoreScaleJob {
  uint64_t run_count;
  const std::byte* stored;
  ScaleParameters parameters;
  float* scales;
};
using RestoreScaleLaunch = void (*)(const DeviceRestoreScaleJob& job, cudaStream_t stream);

struct DeviceEncodeJob {
  const std::byte* values;
  RunGeometry runs;
  const float* factors;  // one for each run
  const float* zeros;    // the same; null: there are none
  float lowest;
  float highest;
  uint32_t code_xor;
  bool ieee_overflow;
  bool unsigned_zero;
  std::byte* codes;
};
using EncodeLaunch = void (*)(const DeviceEncodeJob& job, cudaStream_t stream);

struct DeviceDecodeJob {
  const std::byte* codes;
  RunGeometry runs;
  const float* scales;        // one for each run; null: the levels are the values
  const float* zeros;         // the same; null: there are none
  const int8_t* zero_points;  // the same as integers; null: they are floats
  uint32_t code_xor;
  std::byte* values;
};
using DecodeLaunch = void (*)(const DeviceDecodeJob& job, cudaStream_t stream);

// The range of a tensor, whose values begin at a multiple of 16 bytes. Returns how many from the first on it looks at.
struct DeviceTensorRangeJob {
  const std::byte* values;
  uint64_t element_count;
  FindingsTarget findings;
};
uint64_t LaunchTensorRange(const DeviceTensorRangeJob& job, DataType values, cudaStream_t stream);

// At most so many tensors, or pieces of them, are one launch: what each has of its own travels in the launch.
inline constexpr uint32_t kLaunchTensorsMax = 16;

// Range, scales and codes at once: the values are read a single time. This is what tensors of one launch have in
// common.
struct FusedRules {
  ScaleMethod method;  // kNone: all runs have their tensor's `factor`, and nothing is stored but codes
  DataType rounding;
  ScaleParameters parameters;  // but for `global_scale`, which is 1
  float divisor_reciprocal;    // of theirs, of kStrictAsymmetric half of its steps'
  float lowest;
  float highest;
  uint32_t code_xor;
  bool ieee_overflow;
  bool unsigned_zero;
  uint32_t stored_bytes;  // of one scale
  // Scales are codes in nested blocks of kNestedBlockScales, instead of `stored`.
  bool nests;
  NestedCode nested_code;

  bool operator==(const FusedRules&) const = default;
};

struct FusedTensor {
  const std::byte* values;
  std::byte* codes;
  std::byte* stored;
  int8_t* zero_points;  // one for each run; null: there are none, or one of the tensor's
  std::byte* nested_codes;
  float* nested_scales;  // one for each nested block
  FindingsTarget findings;
  float factor;
  float zero;
  float global_scale;  // of NVFP4: as IsUsualGlobalScale
  float global_reciprocal;
  float nested_offset;
};

// Whether fused kernels find the scales of NVFP4 with it.
constexpr bool IsUsualGlobalScale(float global_scale) { return global_scale >= 0x1p-60f && global_scale <= 0x1p60f; }

struct DeviceFusedJob {
  RunGeometry runs;
  FusedRules rules;
  FusedTensor tensor;
  LaunchPolicy policy;
};
// 1 to kLaunchTensorsMax jobs that CanShareLaunch with the first.
using FusedLaunch = void (*)(std::span<const DeviceFusedJob> jobs, cudaStream_t stream);

// Values from codes and scales as they are stored.
struct FusedDecodeRules {
  ScaleMethod method;  // kNone: all runs have `scale` and `zero`
  DataType rounding;
  ScaleParameters parameters;  // as in FusedRules
  bool nests;
  NestedCode nested_code;
  bool has_zero_points;
  bool has_packed_zeros;
  uint32_t code_xor;

  bool operator==(const FusedDecodeRules&) const = default;
};

struct FusedDecodeTensor {
  const std::byte* codes;
  std::byte* values;
  const std::byte* stored;  // scales, or their codes in nested blocks
  const float* nested_scales;
  const int8_t* zero_points;     // one for each run
  const uint32_t* packed_zeros;  // as DevicePackJob has them
  float scale;
  float zero;
  float global_scale;
  float nested_offset;
};

struct DeviceFusedDecodeJob {
  RunGeometry runs;
  FusedDecodeRules rules;
  FusedDecodeTensor tensor;
  LaunchPolicy policy;
};
using FusedDecodeLaunch = void (*)(std::span<const DeviceFusedDecodeJob> jobs, cudaStream_t stream);

// Null where a combination makes no sense, or no kernel exists.
RangeLaunch FindRangeLaunch(DataType values);
ScaleLaunch FindScaleLaunch(ScaleMethod method, DataType rounding);
RestoreScaleLaunch FindRestoreScaleLaunch(ScaleMethod method, DataType rounding);
EncodeLaunch FindEncodeLaunch(Transform transform, Element element, DataType values);
DecodeLaunch FindDecodeLaunch(Restore restore, Element element, DataType values);
FusedLaunch FindFusedLaunch(Transform transform, Element element, DataType values);
FusedDecodeLaunch FindFusedDecodeLaunch(Restore restore, Element element, DataType values);

// Their parts, each in a file of its own so that they compile side by side.
EncodeLaunch FindEncodeLaunchOfLevels(Transform transform, Element element, DataType values);
EncodeLaunch FindEncodeLaunchOfMiniFloats(Transform transform, Element element, DataType values);
EncodeLaunch FindEncodeLaunchOfIntegers(Transform transform, Element element, DataType values);
EncodeLaunch FindEncodeLaunchOfCasts(Transform transform, Element element, DataType values);

FusedLaunch FindFusedLaunchOfLevels(Transform transform, Element element, DataType values);
FusedLaunch FindFusedLaunchOfMiniFloats(Transform transform, Element element, DataType values);
FusedLaunch FindFusedLaunchOfIntegers(Transform transform, Element element, DataType values);

// Double quantization: scales of blocks, coded in nested blocks of kNestedBlockScales.
struct DeviceNestedJob {
  NestedCode code;
  uint64_t scale_count;
  float* scales;
  float offset;
  std::byte* codes;
  float* nested_scales;
  FindingsTarget findings;  // of the scales; unused by decoding
};
void LaunchNestedEncode(const DeviceNestedJob& job, cudaStream_t stream);
void LaunchNestedDecode(const DeviceNestedJob& job, cudaStream_t stream);

// Zero points of bands of 8 rows, packed down the columns: one 32-bit word for each run of a band.
struct DevicePackJob {
  uint64_t rows;
  uint64_t row_runs;
  int8_t* zero_points;  // one for each run of each row
  uint32_t* words;      // one for each run of each band of 8 rows; fewer than 2^31
};
void LaunchPackZeroPoints(const DevicePackJob& job, cudaStream_t stream);
void LaunchUnpackZeroPoints(const DevicePackJob& job, cudaStream_t stream);

}  // namespace quantd
