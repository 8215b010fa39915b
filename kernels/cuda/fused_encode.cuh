// Range, scale and codes of a run in one kernel: its values stay in the registers of the threads that have read them,
// sixteen in each.
#pragma once

#include <bit>

#include "kernels/cuda/chunk_codes.cuh"
#include "kernels/cuda/chunk_stage.cuh"
#include "kernels/cuda/encode_kernels.cuh"
#include "kernels/cuda/findings.cuh"
#include "kernels/cuda/fused_geometry.h"
#include "kernels/cuda/nested_codes.cuh"
#include "kernels/cuda/run_scales.cuh"

namespace quantd {
namespace {

// All lanes of a warp call its functions together: shuffles need them all.
template <Transform kTransform, class Format, class Values>
class FusedEncoder {
  using Codec = ChunkCodec<kTransform, Format>;
  using RunQuotients = Quotients<kTransform, Codec::kPower>;

 public:
  static constexpr bool kHasZero = kTransform == Transform::kDivideAddZero;
  static constexpr uint32_t kCodeBytes = kChunkElements * Format::kBits / 8;

  __device__ explicit FusedEncoder(const DeviceFusedJob& job) : job_(job), codec_(job) {}

  __device__ static DeviceRange RangeOf(const Chunk<Values>& chunk) {
    if constexpr (kHasZero) return chunk.Range();
    return {0, chunk.Absmax()};
  }

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

  // What the codes of a run are made with.
  struct RunCodes {
    RunQuotients quotients;
    float sign_addend;

    // Those that lane `lane` has.
    __device__ RunCodes OfLane(uint32_t lane) const {
      RunCodes others{quotients.OfLane(lane), sign_addend};
      if constexpr (Codec::kHasSignAddend) {
        others.sign_addend = __shfl_sync(kEveryLane, sign_addend, static_cast<int>(lane));
      }
      return others;
    }
  };

  // Whose codes StoreCodes makes: not of runs with unusual factors, and not of those that have nothing but zeros, where
  // these have codes of their own.
  __device__ bool IsUsual(const RunScale& scale, uint32_t largest) const {
    if (kTransform == Transform::kMultiplyFtz && IsZero(largest)) return false;
    const float factor = FactorOf(scale, largest);
    return Codec::IsUsual(job_, factor) && RunQuotients::IsUsual(factor, __uint_as_float(largest));
  }

  // `largest` is the run's absmax as bits. Where shuffles need all lanes, those that will not use the codes make some
  // of their own.
  __device__ RunCodes CodesOf(const RunScale& scale, uint32_t largest, bool usual) const {
    const float factor = usual ? FactorOf(scale, largest) : 1.0f;
    float sign_addend = 0;
    if constexpr (Codec::kHasSignAddend) sign_addend = codec_.SignAddend(factor);
    return {RunQuotients(factor, scale.zero), sign_addend};
  }

  // `chunk` has its codes at the byte `code_begin`.
  __device__ void StoreCodes(const Chunk<Values>& chunk, uint64_t code_begin, const RunCodes& run, bool is_there,
                             bool usual) const {
    uint32_t words[kChunkWords<Format>] = {};
    // Tables have no entries for what is not usual.
    if (!Codec::kHasTable || usual) codec_.Encode(chunk, run.quotients, run.sign_addend, words);
    if (is_there && usual) StoreWords(code_begin, words);
  }

  // The codes of a chunk of a run that is not usual.
  __device__ void StoreUnusual(uint64_t chunk, const RunScale& scale, uint32_t largest) const {
    if (kTransform == Transform::kMultiplyFtz && IsZero(largest)) {
      // Zeros times infinity: NaN, which has the code 0.
      return StoreWords(chunk * kCodeBytes, {});
    }
    EncodeExactly(chunk * kChunkElements, chunk * kCodeBytes, scale.factor, scale.zero);
  }

  // Whole warps only.
  __device__ void MergeFindings(const DeviceRange& range) const {
    const uint32_t warp = blockIdx.x * (blockDim.x / kWarpLanes) + threadIdx.x / kWarpLanes;
    const auto merge = [&](uint64_t DeviceFindings::* which, uint32_t bits) {
      const uint32_t largest = __reduce_max_sync(kEveryLane, bits);
      if (threadIdx.x % kWarpLanes == 0) MergeFinding(job_.findings, which, warp, largest);
    };
    merge(&DeviceFindings::amax, range.absmax());
    if constexpr (kHasZero) {
      merge(&DeviceFindings::lowest, range.lowest);
      merge(&DeviceFindings::highest, range.highest);
    }
  }

 private:
  __device__ static bool IsZero(uint32_t largest) { return FlushToZero(__uint_as_float(largest)) == 0; }
  // Any will do for zeros, whose multipliers may be too large for a quick way.
  __device__ static float FactorOf(const RunScale& scale, uint32_t largest) {
    return kTransform == Transform::kMultiply && largest == 0 ? 1.0f : scale.factor;
  }

  __device__ void StoreWords(uint64_t code_begin, const uint32_t (&words)[kChunkWords<Format>]) const {
    std::byte* const target = job_.codes + code_begin;
    if constexpr (kCodeBytes == 8) {
      __stcs(reinterpret_cast<uint2*>(target), make_uint2(words[0], words[1]));
    } else {
      __stcs(reinterpret_cast<uint4*>(target), make_uint4(words[0], words[1], words[2], words[3]));
    }
  }

  // Reads the values again: those in registers cannot be indexed.
  __device__ void EncodeExactly(uint64_t begin, uint64_t code_begin, float factor, float zero) const {
    DeviceCodeWriter<Format> writer(job_.codes + code_begin);
#pragma unroll 1
    for (uint32_t i = 0; i < kChunkElements; ++i) {
      const float value = LoadDeviceValue<Values>(job_.values, begin + i);
      writer.Add(Encoded<OnDevice<Format>>(Transformed<kTransform>(value, factor, zero), value, job_) ^ job_.code_xor);
    }
  }

  const DeviceFusedJob& job_;
  Codec codec_;
};

// The range of a run that 2^`lanes_log2` neighbours share, of each of the two chunks of a lane: lanes of even numbers
// get that of the first, the others that of the second. So each exchange serves both, and so does what is made of them.
template <bool kAsymmetric>
__device__ DeviceRange RangeOfRun(const DeviceRange (&chunks)[kHeldChunks], uint32_t lanes_log2) {
  static_assert(kHeldChunks == 2);
  const bool odd = threadIdx.x % 2 != 0;
  const auto exchange = [](uint32_t mine, uint32_t given, uint32_t distance) {
    return max(mine, __shfl_xor_sync(kEveryLane, given, static_cast<int>(distance)));
  };
  const auto pick = [](bool second, uint32_t of_first, uint32_t of_second) { return second ? of_second : of_first; };
  DeviceRange run;
  run.highest =
      exchange(pick(odd, chunks[0].highest, chunks[1].highest), pick(!odd, chunks[0].highest, chunks[1].highest), 1);
  if constexpr (kAsymmetric) {
    run.lowest =
        exchange(pick(odd, chunks[0].lowest, chunks[1].lowest), pick(!odd, chunks[0].lowest, chunks[1].lowest), 1);
  }
#pragma unroll
  for (uint32_t step = 1; step < 5; ++step) {
    if (lanes_log2 <= step) break;
    run.highest = exchange(run.highest, run.highest, 1 << step);
    if constexpr (kAsymmetric) run.lowest = exchange(run.lowest, run.lowest, 1 << step);
  }
  return run;
}

// CTAs that are alike in what they fetch.
template <class Values>
inline constexpr uint32_t kShortRunThreads = kBlockThreads * 2 / sizeof(typename Values::Bits);

// The chunks of a lane whose runs are its own. `first` is the number of the first, the others lie kWarpLanes apart.
template <class Encoder, class Values, class StoreScale>
__device__ void EncodeAlone(const Encoder& encoder, const Chunk<Values> (&chunks)[kHeldChunks], uint32_t first,
                            uint32_t chunk_count, const StoreScale& store_scale, DeviceRange& of_all) {
#pragma unroll
  for (uint32_t i = 0; i < kHeldChunks; ++i) {
    const uint32_t chunk = first + i * kWarpLanes;
    const DeviceRange range = Encoder::RangeOf(chunks[i]);
    of_all = {max(of_all.lowest, range.lowest), max(of_all.highest, range.highest)};
    const RunScale scale = encoder.ScaleOf(range);
    store_scale(chunk, scale);
    const bool usual = encoder.IsUsual(scale, range.absmax());
    encoder.StoreCodes(chunks[i], uint64_t{chunk} * Encoder::kCodeBytes, encoder.CodesOf(scale, range.absmax(), usual),
                       chunk < chunk_count, usual);
    if (!usual && chunk < chunk_count) encoder.StoreUnusual(chunk, scale, range.absmax());
  }
}

// The same where 2^`lanes_log2` neighbours share runs: half of them make the scale of the first chunk's, half that of
// the second's.
template <class Encoder, class Values, class StoreScale>
__device__ void EncodeShared(const Encoder& encoder, const Chunk<Values> (&chunks)[kHeldChunks], uint32_t first,
                             uint32_t chunk_count, uint32_t lanes_log2, const StoreScale& store_scale,
                             DeviceRange& of_all) {
  const uint32_t lane = threadIdx.x % kWarpLanes;
  const auto source_of = [lane](uint32_t i) { return (lane & ~1u) | i; };
  const DeviceRange ranges[kHeldChunks] = {Encoder::RangeOf(chunks[0]), Encoder::RangeOf(chunks[1])};
  const DeviceRange range = RangeOfRun<Encoder::kHasZero>(ranges, lanes_log2);
  of_all = {max(of_all.lowest, range.lowest), max(of_all.highest, range.highest)};
  const RunScale scale = encoder.ScaleOf(range);
  const bool leads = (lane & ((1u << lanes_log2) - 1)) < kHeldChunks;
  if (leads) store_scale(first + lane % 2 * kWarpLanes, scale);
  const bool usual = encoder.IsUsual(scale, range.absmax());
  const uint32_t usual_lanes = __ballot_sync(kEveryLane, usual);
  if (usual_lanes != kEveryLane) {
#pragma unroll 1
    for (uint32_t i = 0; i < kHeldChunks; ++i) {
      const auto source = static_cast<int>(source_of(i));
      const float factor = __shfl_sync(kEveryLane, scale.factor, source);
      const float zero = __shfl_sync(kEveryLane, scale.zero, source);
      const uint32_t largest = __shfl_sync(kEveryLane, range.absmax(), source);
      const uint32_t chunk = first + i * kWarpLanes;
      if ((usual_lanes >> source & 1) == 0 && chunk < chunk_count) {
        encoder.StoreUnusual(chunk, {0, factor, zero}, largest);
      }
    }
  }
  const auto codes = encoder.CodesOf(scale, range.absmax(), usual);
#pragma unroll
  for (uint32_t i = 0; i < kHeldChunks; ++i) {
    const uint32_t source = source_of(i);
    const uint32_t chunk = first + i * kWarpLanes;
    encoder.StoreCodes(chunks[i], uint64_t{chunk} * Encoder::kCodeBytes, codes.OfLane(source), chunk < chunk_count,
                       (usual_lanes >> source & 1) != 0);
  }
}

// CTAs of a multiprocessor that registers must be left for, where the compiler takes more for these kernels than is
// good for their speed, or spills; 0: as it likes.
template <Transform kTransform, class Format, class Values, bool kAlone>
inline constexpr uint32_t kShortRunBlocksMin =
    kAlone || kTransform != Transform::kDivide || Format::kKind == ElementKind::kInteger ? 0
    : sizeof(typename Values::Bits) == 2                                                 ? 5
                                                                                         : 6;

// Whether a kernel of short runs codes their scales too.
template <class Format>
inline constexpr bool kNests = std::is_same_v<Format, Nf4> || std::is_same_v<Format, Fp4Bnb>;

// Each run belongs to 2^`lanes_log2` neighbours of one warp, or to a lane for itself. A warp has kHeldChunks chunks for
// each lane at a time, of those `turns` times, and fetches the next before it works on those it has.
template <Transform kTransform, class Format, class Values, bool kAlone>
__global__ void __launch_bounds__(kShortRunThreads<Values>, kShortRunBlocksMin<kTransform, Format, Values, kAlone>)
    EncodeShortRuns(const __grid_constant__ DeviceFusedJob job, uint32_t chunk_count, uint32_t lanes_log2,
                    uint32_t turns) {
  using Encoder = FusedEncoder<kTransform, Format, Values>;
  constexpr uint32_t kWarps = kShortRunThreads<Values> / kWarpLanes;
  constexpr uint32_t kBlockChunks = kWarps * kWarpChunks;
  constexpr bool kCanNest = !kAlone && kNests<Format>;
  __shared__ ChunkStageMemory<Values> memory[kWarps];
  const Encoder encoder(job);
  const uint32_t lane = threadIdx.x % kWarpLanes;
  const uint32_t first_of_block = blockIdx.x * turns * kBlockChunks;
  const uint32_t end_of_block = min(first_of_block + turns * kBlockChunks, chunk_count);
  // A CTA has a nested block.
  __shared__ float scales[kCanNest ? kNestedBlockScales : 1];
  const bool nests = kCanNest && job.nested.codes != nullptr;
  DeviceRange of_all;
  uint32_t first = first_of_block + threadIdx.x / kWarpLanes * kWarpChunks;
  ChunkStage<Values> stage(memory[threadIdx.x / kWarpLanes], job.values, first, kBlockChunks);
  const auto there = [&] { return chunk_count - min(first, chunk_count); };
  stage.Fetch(there());
  for (uint32_t block_first = first_of_block; block_first < end_of_block; block_first += kBlockChunks) {
    Chunk<Values> chunks[kHeldChunks];
    stage.Await();
    stage.Take(chunks);
    const uint32_t here = first;
    first += kBlockChunks;
    if (block_first + kBlockChunks < end_of_block) stage.Fetch(there());
    const auto store_scale = [&](uint32_t chunk, const RunScale& scale) {
      if (chunk >= chunk_count) return;
      if (nests) {
        scales[(chunk - first_of_block) >> lanes_log2] = __uint_as_float(scale.stored);
      } else {
        encoder.StoreScale(chunk >> lanes_log2, scale);
      }
    };
    if constexpr (kAlone) {
      EncodeAlone(encoder, chunks, here + lane, chunk_count, store_scale, of_all);
    } else {
      EncodeShared(encoder, chunks, here + lane, chunk_count, lanes_log2, store_scale, of_all);
    }
  }
  encoder.MergeFindings(of_all);
  if (!nests) return;
  __syncthreads();
  const uint32_t first_run = blockIdx.x * kNestedBlockScales;
  EncodeNestedBlock(job.nested.code, scales, min((chunk_count >> lanes_log2) - first_run, kNestedBlockScales),
                    job.nested.offset, job.nested.codes + first_run, job.nested.scales + blockIdx.x);
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
  using Encoder = FusedEncoder<kTransform, Format, Values>;
  const Encoder encoder(job);
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
      const DeviceRange of_chunk = Encoder::RangeOf(chunks[i]);
      range = {max(range.lowest, of_chunk.lowest), max(range.highest, of_chunk.highest)};
    }
    encoder.MergeFindings(range);
    range.highest = LargestOfBlock(range.highest, of_warps[0]);
    if constexpr (kAsymmetric) range.lowest = LargestOfBlock(range.lowest, of_warps[1]);
    const RunScale scale = encoder.ScaleOf(range);
    if (threadIdx.x == 0) encoder.StoreScale(run, scale);
    const bool usual = encoder.IsUsual(scale, range.absmax());
    const typename Encoder::RunCodes codes = encoder.CodesOf(scale, range.absmax(), usual);
#pragma unroll
    for (uint32_t i = 0; i < kHeldChunks; ++i) {
      encoder.StoreCodes(chunks[i], begins[i] * Format::kBits / 8, codes, is_there[i], usual);
      if (!usual && is_there[i]) encoder.StoreUnusual(begins[i] / kChunkElements, scale, range.absmax());
    }
    __syncthreads();
  }
}

// CTAs that make a table stay: as many as there are at once on the largest GPUs, which is enough for smaller ones.
inline constexpr uint64_t kTableBlocksMax = 132 * 8;
// From so many chunks on a CTA fetches while it works; of fewer there are not enough CTAs to keep all processors busy.
inline constexpr uint64_t kManyChunks = uint64_t{1} << 23;

template <class Values>
uint64_t TurnsOf(const DeviceFusedJob& job, const FusedGeometry& geometry, bool has_table) {
  constexpr uint64_t kTurnChunks = uint64_t{kShortRunThreads<Values>} * kHeldChunks;
  if (job.nested.codes != nullptr) return uint64_t{kNestedBlockScales} * geometry.lanes / kTurnChunks;
  const uint64_t chunks = geometry.runs * geometry.lanes;
  if (has_table) return (chunks + kTurnChunks * kTableBlocksMax - 1) / (kTurnChunks * kTableBlocksMax);
  return chunks < kManyChunks ? 1 : 2;
}

template <Transform kTransform, class Format, class Values>
struct FusedLauncher {
  static void Run(const DeviceFusedJob& job, cudaStream_t stream) {
    constexpr bool kHasTable = ChunkCodec<kTransform, Format>::kHasTable;
    const FusedGeometry geometry = FusedGeometryOf(job.runs, Format::kBits, job.method != ScaleMethod::kNone);
    if (geometry.runs == 0) return;
    if (geometry.lanes > 0) {
      const uint64_t chunks = geometry.runs * geometry.lanes;
      constexpr uint32_t kThreads = kShortRunThreads<Values>;
      const uint64_t turns = TurnsOf<Values>(job, geometry, kHasTable);
      const uint64_t block_chunks = uint64_t{kThreads} * kHeldChunks * turns;
      const auto kernel = geometry.lanes == 1 ? &EncodeShortRuns<kTransform, Format, Values, true>
                                              : &EncodeShortRuns<kTransform, Format, Values, false>;
      kernel<<<static_cast<uint32_t>((chunks + block_chunks - 1) / block_chunks), kThreads, 0, stream>>>(
          job, static_cast<uint32_t>(chunks), static_cast<uint32_t>(std::countr_zero(geometry.lanes)),
          static_cast<uint32_t>(turns));
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
