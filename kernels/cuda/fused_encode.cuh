// Range, scale and codes of a run in one kernel: its values stay in the registers of the threads that have read them,
// sixteen in each.
#pragma once

#include <bit>

#include "kernels/cuda/chunk_codes.cuh"
#include "kernels/cuda/encode_kernels.cuh"
#include "kernels/cuda/fused_geometry.h"
#include "kernels/cuda/run_scales.cuh"

namespace quantd {
namespace {

// All lanes of a warp call its functions together: shuffles need them all.
template <Transform kTransform, class Format, class Values>
class FusedEncoder {
  using Codec = ChunkCodec<kTransform, Format>;
  static constexpr bool kHasZero = kTransform == Transform::kDivideAddZero;

 public:
  static constexpr uint32_t kCodeBytes = kChunkElements * Format::kBits / 8;

  __device__ explicit FusedEncoder(const DeviceFusedJob& job) : job_(job), codec_(job) {}

  __device__ RunScale ScaleOf(const DeviceRange& range) const {
    if (job_.method == ScaleMethod::kNone) return {0, job_.factor, job_.zero};
    return MakeRunScale<kTransform, Format::kKind>(job_.method, job_.rounding, range.Floats(), job_.parameters);
  }

  __device__ void StoreScale(uint32_t run, const RunScale& scale) const {
    if (job_.method == ScaleMethod::kNone) return;
    if (job_.stored_bytes == 4) {
      reinterpret_cast<uint32_t*>(job_.stored)[run] = scale.stored;
    } else if (job_.stored_bytes == 2) {
      reinterpret_cast<uint16_t*>(job_.stored)[run] = static_cast<uint16_t>(scale.stored);
    } else {
      reinterpret_cast<uint8_t*>(job_.stored)[run] = static_cast<uint8_t>(scale.stored);
    }
    if constexpr (kHasZero) {
      if (job_.zeros != nullptr) job_.zeros[run] = scale.zero;
      if (job_.zero_points != nullptr) job_.zero_points[run] = static_cast<int8_t>(scale.zero);
    }
  }

  // `chunk` begins at element `begin`, its codes at the byte `code_begin`; `largest` is the run's absmax as bits.
  __device__ void StoreCodes(const Chunk<Values>& chunk, uint64_t begin, uint64_t code_begin, const RunScale& scale,
                             uint32_t largest, bool is_there) const {
    // Any factor will do for zeros; multipliers of theirs may be too large for a quick one.
    const float factor = kTransform == Transform::kMultiply && largest == 0 ? 1.0f : scale.factor;
    bool usual =
        Codec::IsUsual(job_, factor) && Quotients<kTransform, Codec::kPower>::IsUsual(factor, __uint_as_float(largest));
    const float safe_factor = usual ? factor : 1.0f;
    uint32_t words[kChunkWords<Format>];
    // Where shuffles need all lanes, those that will not use the codes make some of their own; tables have no such
    // entries.
    if (!Codec::kHasTable || usual) {
      codec_.Encode(chunk, Quotients<kTransform, Codec::kPower>(safe_factor, scale.zero), safe_factor, words);
    }
    if constexpr (kTransform == Transform::kMultiplyFtz) {
      // Zeros times infinity: NaN, which has the code 0.
      if (FlushToZero(__uint_as_float(largest)) == 0) {
#pragma unroll
        for (uint32_t& word : words) word = 0;
        usual = true;
      }
    }
    if (!is_there) return;
    if (!usual) return EncodeExactly(job_, begin, code_begin, scale.factor, scale.zero);
    std::byte* const target = job_.codes + code_begin;
    if constexpr (kCodeBytes == 8) {
      __stcs(reinterpret_cast<uint2*>(target), make_uint2(words[0], words[1]));
    } else {
      __stcs(reinterpret_cast<uint4*>(target), make_uint4(words[0], words[1], words[2], words[3]));
    }
  }

  // Whole warps only.
  __device__ void MergeFindings(const DeviceRange& range) const {
    DeviceFindings& findings = job_.findings[(blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32) % kFindingsSlots];
    const bool first = threadIdx.x % 32 == 0;
    const uint32_t amax = __reduce_max_sync(kEveryLane, range.absmax());
    if (first) atomicMax(&findings.amax_bits, amax);
    if constexpr (kHasZero) {
      const uint32_t lowest = __reduce_max_sync(kEveryLane, range.lowest);
      const uint32_t highest = __reduce_max_sync(kEveryLane, range.highest);
      if (first) atomicMax(&findings.lowest_bits, lowest);
      if (first) atomicMax(&findings.highest_bits, highest);
    }
  }

 private:
  // Reads the values again: those in registers cannot be indexed.
  __device__ static void EncodeExactly(const DeviceFusedJob& job, uint64_t begin, uint64_t code_begin, float factor,
                                       float zero) {
    DeviceCodeWriter<Format> writer(job.codes + code_begin);
#pragma unroll 1
    for (uint32_t i = 0; i < kChunkElements; ++i) {
      const float value = LoadDeviceValue<Values>(job.values, begin + i);
      writer.Add(Encoded<OnDevice<Format>>(Transformed<kTransform>(value, factor, zero), value, job) ^ job.code_xor);
    }
  }

  const DeviceFusedJob& job_;
  Codec codec_;
};

// Each run belongs to 2^`lanes_log2` neighbours of one warp. A thread has kHeldChunks chunks, so that the loads of all
// are under way before the first is needed.
template <Transform kTransform, class Format, class Values>
__global__ void __launch_bounds__(kBlockThreads)
    EncodeShortRuns(const __grid_constant__ DeviceFusedJob job, uint32_t chunk_count, uint32_t lanes_log2) {
  constexpr bool kAsymmetric = kTransform == Transform::kDivideAddZero;
  constexpr uint32_t kBlockChunks = kBlockThreads * kHeldChunks;
  const FusedEncoder<kTransform, Format, Values> encoder(job);
  const bool leads = (threadIdx.x & ((1u << lanes_log2) - 1)) == 0;
  DeviceRange of_all;
  uint32_t first = blockIdx.x * kBlockChunks + threadIdx.x;
  do {
    Chunk<Values> chunks[kHeldChunks];
    uint32_t indices[kHeldChunks];
    bool is_there[kHeldChunks];
#pragma unroll
    for (uint32_t i = 0; i < kHeldChunks; ++i) {
      // Those beyond the end do what the last one does, and store nothing.
      indices[i] = min(first + i * kBlockThreads, chunk_count - 1);
      is_there[i] = first + i * kBlockThreads < chunk_count;
      chunks[i] = Chunk<Values>(job.values + uint64_t{indices[i]} * Chunk<Values>::kBytes);
    }
#pragma unroll
    for (uint32_t i = 0; i < kHeldChunks; ++i) {
      DeviceRange range = chunks[i].Range();
      if constexpr (!kAsymmetric) range = {0, range.absmax()};
#pragma unroll
      for (uint32_t step = 0; step < 5; ++step) {
        if (lanes_log2 <= step) break;
        range.highest = max(range.highest, __shfl_xor_sync(kEveryLane, range.highest, 1 << step));
        if constexpr (kAsymmetric)
          range.lowest = max(range.lowest, __shfl_xor_sync(kEveryLane, range.lowest, 1 << step));
      }
      of_all = {max(of_all.lowest, range.lowest), max(of_all.highest, range.highest)};
      const RunScale scale = encoder.ScaleOf(range);
      if (is_there[i] && leads) encoder.StoreScale(indices[i] >> lanes_log2, scale);
      encoder.StoreCodes(chunks[i], uint64_t{indices[i]} * kChunkElements, uint64_t{indices[i]} * encoder.kCodeBytes,
                         scale, range.absmax(), is_there[i]);
    }
    first += gridDim.x * kBlockChunks;
  } while (ChunkCodec<kTransform, Format>::kHasTable && first - threadIdx.x < chunk_count);
  encoder.MergeFindings(of_all);
}

// The largest of all threads of the CTA, to all of them.
__device__ inline uint32_t LargestOfBlock(uint32_t value, uint32_t (&of_warps)[32]) {
  const uint32_t lane = threadIdx.x % 32;
  const uint32_t largest = __reduce_max_sync(kEveryLane, value);
  if (lane == 0) of_warps[threadIdx.x / 32] = largest;
  __syncthreads();
  return __reduce_max_sync(kEveryLane, lane < blockDim.x / 32 ? of_warps[lane] : 0);
}

// Each run belongs to a CTA: a long one, a row, or a tile, of which a thread has at most kHeldChunks chunks.
template <Transform kTransform, class Format, class Values>
__global__ void __launch_bounds__(kLongRunThreadsMax, ChunkCodec<kTransform, Format>::kHasTable ? 1 : 0)
    EncodeLongRuns(const __grid_constant__ DeviceFusedJob job, FusedTile tile) {
  constexpr bool kAsymmetric = kTransform == Transform::kDivideAddZero;
  __shared__ uint32_t of_warps[2][32];
  const FusedEncoder<kTransform, Format, Values> encoder(job);
  const uint32_t row_runs = tile.row_runs;
  for (uint32_t run = blockIdx.x; run < tile.run_count; run += gridDim.x) {
    const uint64_t first_row = run / row_runs * job.runs.band_rows;
    const uint64_t first_column = run % row_runs * job.runs.run_elements;
    uint64_t begins[kHeldChunks];
    bool is_there[kHeldChunks];
    Chunk<Values> chunks[kHeldChunks];
    DeviceRange range;
#pragma unroll
    for (uint32_t i = 0; i < kHeldChunks; ++i) {
      const uint32_t index = threadIdx.x + i * blockDim.x;
      const uint64_t row = first_row + (index >> tile.row_chunks_shift);
      const uint64_t column = first_column + uint64_t{index & tile.row_chunks_mask} * kChunkElements;
      is_there[i] = index < tile.chunk_count && row < job.runs.rows && column < job.runs.row_elements;
      begins[i] = is_there[i] ? row * job.runs.row_elements + column : first_row * job.runs.row_elements + first_column;
      chunks[i] = Chunk<Values>(job.values + begins[i] * sizeof(typename Values::Bits));
    }
#pragma unroll
    for (uint32_t i = 0; i < kHeldChunks; ++i) {
      const DeviceRange of_chunk = chunks[i].Range();
      range.highest = max(range.highest, kAsymmetric ? of_chunk.highest : of_chunk.absmax());
      range.lowest = max(range.lowest, kAsymmetric ? of_chunk.lowest : 0);
    }
    encoder.MergeFindings(range);
    range.highest = LargestOfBlock(range.highest, of_warps[0]);
    if constexpr (kAsymmetric) range.lowest = LargestOfBlock(range.lowest, of_warps[1]);
    const RunScale scale = encoder.ScaleOf(range);
    if (threadIdx.x == 0) encoder.StoreScale(run, scale);
#pragma unroll
    for (uint32_t i = 0; i < kHeldChunks; ++i) {
      encoder.StoreCodes(chunks[i], begins[i], begins[i] * Format::kBits / 8, scale, range.absmax(), is_there[i]);
    }
    __syncthreads();
  }
}

// CTAs that make a table stay: as many as there are at once on the largest GPUs, which is enough for smaller ones.
inline constexpr uint64_t kTableBlocksMax = 132 * 8;

template <Transform kTransform, class Format, class Values>
struct FusedLauncher {
  static void Run(const DeviceFusedJob& job, cudaStream_t stream) {
    constexpr bool kHasTable = ChunkCodec<kTransform, Format>::kHasTable;
    const FusedGeometry geometry = FusedGeometryOf(job.runs, Format::kBits, job.method != ScaleMethod::kNone);
    if (geometry.runs == 0) return;
    if (geometry.lanes > 0) {
      const uint64_t chunks = geometry.runs * geometry.lanes;
      const uint64_t blocks = (chunks + kBlockThreads * kHeldChunks - 1) / (kBlockThreads * kHeldChunks);
      const uint64_t blocks_max = kHasTable ? kTableBlocksMax : kFusedRunsMax;
      EncodeShortRuns<kTransform, Format, Values>
          <<<static_cast<uint32_t>(blocks < blocks_max ? blocks : blocks_max), kBlockThreads, 0, stream>>>(
              job, static_cast<uint32_t>(chunks), static_cast<uint32_t>(std::countr_zero(geometry.lanes)));
      return;
    }
    const uint64_t blocks_max = kHasTable ? kTableBlocksMax : kFusedRunsMax;
    EncodeLongRuns<kTransform, Format, Values>
        <<<static_cast<uint32_t>(geometry.runs < blocks_max ? geometry.runs : blocks_max), geometry.threads, 0,
           stream>>>(geometry.AsRows(job), geometry.tile);
  }
};
template <class Format, class Values>
using FusedMultiply = FusedLauncher<Transform::kMultiply, Format, Values>;
template <class Format, class Values>
using FusedMultiplyFtz = FusedLauncher<Transform::kMultiplyFtz, Format, Values>;
template <class Format, class Values>
using FusedDivide = FusedLauncher<Transform::kDivide, Format, Values>;
template <class Format, class Values>
using FusedDivideAddZero = FusedLauncher<Transform::kDivideAddZero, Format, Values>;

}  // namespace
}  // namespace quantd
