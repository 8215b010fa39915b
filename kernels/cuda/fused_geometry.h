// Which threads of a fused kernel have which chunks of 16 values.
#pragma once

#include <cstdint>

#include "kernels/cuda/device_jobs.h"
#include "kernels/format/element.h"

namespace quantd {

inline constexpr uint32_t kHeldChunks = 2;
inline constexpr uint32_t kLongRunThreadsMax = 1024;
inline constexpr uint64_t kFusedRunsMax = uint64_t{1} << 30;

// Of a run that a CTA has.
struct FusedTile {
  uint32_t run_count;
  uint32_t row_runs;
  uint32_t chunk_count;  // of a run that is cut off nowhere
  uint32_t row_chunks_shift;
  uint32_t row_chunks_mask;

  bool operator==(const FusedTile&) const = default;
};

struct FusedGeometry {
  uint64_t runs = 0;      // from the first one on; 0: none
  uint64_t elements = 0;  // of those
  uint32_t lanes = 0;     // of a warp, that share a run; 0: a CTA of `threads` has it
  uint32_t threads = 0;   // a multiple of a warp
  FusedTile tile{};
  RunGeometry rows{};  // the same runs as `tile` counts them

  // Whether threads can have their runs by the same numbers, but for how many runs there are.
  bool IsLike(const FusedGeometry& other) const;
};

// Whether a fused kernel that codes scales in nested blocks has all of the runs.
bool CanNest(const FusedGeometry& geometry, Element element, uint64_t elements);

// `has_scales`: of each run; else the runs are nobody's business.
FusedGeometry FusedGeometryOf(const RunGeometry& runs, int code_bits, bool has_scales);

// Whether both, which the same launch function takes, can be jobs of one launch.
bool CanShareLaunch(const DeviceFusedJob& one, const DeviceFusedJob& other, int code_bits);
bool CanShareLaunch(const DeviceFusedDecodeJob& one, const DeviceFusedDecodeJob& other, int code_bits);

// Division of numbers below 2^31 by what is known before the launch: a multiplication.
struct Divisor {
  uint32_t divisor = 1;
  uint32_t shift = 0;
  uint32_t multiplier = 0;

  Divisor() = default;
  explicit Divisor(uint32_t divisor_above_0);

  bool operator==(const Divisor&) const = default;

#ifdef __CUDACC__
  __device__ uint32_t Quotient(uint32_t number) const { return (__umulhi(number, multiplier) + number) >> shift; }
  __device__ uint32_t Remainder(uint32_t number, uint32_t quotient) const { return number - quotient * divisor; }
#endif
};

// Which run a chunk of codes belongs to.
struct FusedDecodeGeometry {
  uint64_t elements = 0;  // from the first one on, whole chunks; 0: none
  uint32_t run_shift;     // of runs of a power of two that lie one after another; else kNoShift
  Divisor run_chunks;
  Divisor row_chunks;
  Divisor row_runs;
  Divisor band_rows;

  static constexpr uint32_t kNoShift = 32;

  bool operator==(const FusedDecodeGeometry&) const = default;
};
FusedDecodeGeometry FusedDecodeGeometryOf(const RunGeometry& runs, int code_bits, bool has_scales);

}  // namespace quantd
