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
template <Transform kTransform, class Format, class Values, class Codec>
class FusedEncoder {
  using RunQuotients = Quotients<kTransform, Codec::kPower>;

 public:
  static constexpr bool kHasZero = kTransform == Transform::kDivideAddZero;
  static constexpr bool kHasTable = Codec::kHasTable;
  static constexpr uint32_t kCodeBytes = kChunkElements * Format::kBits / 8;

  __device__ FusedEncoder(const FusedRules& rules, const FusedTensor& tensor)
      : rules_(rules), tensor_(tensor), codec_(rules) {}

  __device__ static DeviceRange RangeOf(const Chunk<Values>& chunk) {
    if constexpr (kHasZero) return chunk.Range();
    return {0, chunk.Absmax()};
  }

  __device__ RunScale ScaleOf(const DeviceRange& range) const {
    if (rules_.method == ScaleMethod::kNone) return {0, tensor_.factor, tensor_.zero};
    ScaleParameters parameters = rules_.parameters;
    parameters.global_scale = tensor_.global_scale;
    return MakeRunScale<kTransform, Format::kKind>(rules_.method, rules_.rounding, range.Floats(), parameters,
                                                   {rules_.divisor_reciprocal, tensor_.global_reciprocal});
  }

  __device__ void StoreScale(uint32_t run, const RunScale& scale) const {
    if (rules_.method == ScaleMethod::kNone) return;
    if (rules_.stored_bytes == 4) {
      reinterpret_cast<uint32_t*>(tensor_.stored)[run] = scale.stored;
    } else if (rules_.stored_bytes == 2) {
      reinterpret_cast<uint16_t*>(tensor_.stored)[run] = static_cast<uint16_t>(scale.stored);
    } else {
      reinterpret_cast<uint8_t*>(tensor_.stored)[run] = static_cast<uint8_t>(scale.stored);
    }
    if constexpr (kHasZero) {
      if (tensor_.zero_points != nullptr) tensor_.zero_points[run] = static_cast<int8_t>(scale.zero);
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

  // `largest` is the run's absmax as bits. Of runs that are not usual they are codes of any content.
  __device__ RunCodes CodesOf(const RunScale& scale, uint32_t largest) const {
    const float factor = FactorOf(scale, largest);
    float sign_addend = 0;
    if constexpr (Codec::kHasSignAddend) sign_addend = codec_.SignAddend(factor);
    return {RunQuotients(factor, scale.zero), sign_addend};
  }

  // Whose codes StoreCodes makes: not of runs with unusual factors, and not of those that have nothing but zeros, where
  // these have codes of their own.
  __device__ bool IsUsual(const RunCodes& codes, const RunScale& scale, uint32_t largest) const {
    if (kTransform == Transform::kMultiplyFtz && IsZero(largest)) return false;
    const float factor = FactorOf(scale, largest);
    return Codec::IsUsual(rules_, factor) && codes.quotients.IsUsual(factor, __uint_as_float(largest));
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
      if (threadIdx.x % kWarpLanes == 0) MergeFinding(tensor_.findings, which, warp, largest);
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
    std::byte* const target = tensor_.codes + code_begin;
    if constexpr (kCodeBytes == 8) {
      __stcs(reinterpret_cast<uint2*>(target), make_uint2(words[0], words[1]));
    } else {
      __stcs(reinterpret_cast<uint4*>(target), make_uint4(words[0], words[1], words[2], words[3]));
    }
  }

  // Reads the values again: those in registers cannot be indexed.
  __device__ void EncodeExactly(uint64_t begin, uint64_t code_begin, float factor, float zero) const {
    DeviceCodeWriter<Format> writer(tensor_.codes + code_begin);
#pragma unroll 1
    for (uint32_t i = 0; i < kChunkElements; ++i) {
      const float value = LoadDeviceValue<Values>(tensor_.values, begin + i);
      writer.Add(Encoded<OnDevice<Format>>(Transformed<kTransform>(value, factor, zero), value, rules_) ^
                 rules_.code_xor);
    }
  }

  const FusedRules& rules_;
  const FusedTensor& tensor_;
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
    const auto codes = encoder.CodesOf(scale, range.absmax());
    const bool usual = encoder.IsUsual(codes, scale, range.absmax());
    encoder.StoreCodes(chunks[i], uint64_t{chunk} * Encoder::kCodeBytes, codes, chunk < chunk_count, usual);
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
  const auto codes = encoder.CodesOf(scale, range.absmax());
  const bool usual = encoder.IsUsual(codes, scale, range.absmax());
  const uint32_t usual_lanes = __ballot_sync(kEveryLane, usual);
#pragma unroll
  for (uint32_t i = 0; i < kHeldChunks; ++i) {
    const uint32_t source = source_of(i);
    const uint32_t chunk = first + i * kWarpLanes;
    encoder.StoreCodes(chunks[i], uint64_t{chunk} * Encoder::kCodeBytes, codes.OfLane(source), chunk < chunk_count,
                       (usual_lanes >> source & 1) != 0);
  }
  if (usual_lanes == kEveryLane) return;
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

// The tensors of a launch, each of which has the CTAs with its number in `blockIdx.y`.
struct FusedTensors {
  struct Part {
    FusedTensor tensor;
    uint32_t count;  // of chunks, or of runs that have CTAs
    uint32_t rows;   // of those
  };
  Part parts[kLaunchTensorsMax];
};

// Each run belongs to 2^`lanes_log2` neighbours of one warp, or to a lane for itself. A warp has kHeldChunks chunks for
// each lane at a time, of those `turns` times, and fetches the next before it works on those it has.
template <Transform kTransform, class Format, class Values, bool kAlone, class Codec>
__global__ void __launch_bounds__(kShortRunThreads<Values>, kShortRunBlocksMin<kTransform, Format, Values, kAlone>)
    EncodeShortRuns(const __grid_constant__ FusedRules rules, const __grid_constant__ FusedTensors tensors,
                    uint32_t lanes_log2, uint32_t turns) {
  using Encoder = FusedEncoder<kTransform, Format, Values, Codec>;
  constexpr uint32_t kWarps = kShortRunThreads<Values> / kWarpLanes;
  constexpr uint32_t kBlockChunks = kWarps * kWarpChunks;
  constexpr bool kCanNest = !kAlone && kNests<Format>;
  __shared__ ChunkStageMemory<Values> memory[kWarps];
  const FusedTensor& tensor = tensors.parts[blockIdx.y].tensor;
  const uint32_t chunk_count = tensors.parts[blockIdx.y].count;
  const uint32_t first_of_block = blockIdx.x * turns * kBlockChunks;
  if (first_of_block >= chunk_count) return;
  const Encoder encoder(rules, tensor);
  const uint32_t lane = threadIdx.x % kWarpLanes;
  // A CTA has a nested block.
  __shared__ float scales[kCanNest ? kNestedBlockScales : 1];
  const bool nests = kCanNest && rules.nests;
  DeviceRange of_all;
  uint32_t first = first_of_block + threadIdx.x / kWarpLanes * kWarpChunks;
  ChunkStage<Values> stage(memory[threadIdx.x / kWarpLanes], tensor.values, first, kBlockChunks);
  const auto there = [&] { return chunk_count - min(first, chunk_count); };
  stage.Fetch(there());
  // What a CTA does in turns in which nothing is there comes to nothing; a bound of its own would cost registers.
  for (uint32_t turn = 1; turn <= turns; ++turn) {
    Chunk<Values> chunks[kHeldChunks];
    stage.Await();
    stage.Take(chunks);
    const uint32_t here = first;
    first += kBlockChunks;
    if (turn < turns) stage.Fetch(there());
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
  EncodeNestedBlock(rules.nested_code, scales, min((chunk_count >> lanes_log2) - first_run, kNestedBlockScales),
                    tensor.nested_offset, tensor.nested_codes + first_run, tensor.nested_scales + blockIdx.x);
}

// The largest of all threads of the CTA, to all of them.
__device__ inline uint32_t LargestOfBlock(uint32_t value, uint32_t (&of_warps)[32]) {
  const uint32_t lane = threadIdx.x % 32;
  const uint32_t largest = __reduce_max_sync(kEveryLane, value);
  if (lane == 0) of_warps[threadIdx.x / 32] = largest;
  __syncthreads();
  return __reduce_max_sync(kEveryLane, lane < blockDim.x / 32 ? of_warps[lane] : 0);
}

// As kShortRunBlocksMin.
template <Transform kTransform, class Format, class Codec>
inline constexpr uint32_t kLongRunBlocksMin =
    Codec::kHasTable || (kTransform == Transform::kMultiply && Format::kBits == 8) ? 1 : 0;

// Each run belongs to a CTA: a long one, a row, or a tile, of which a thread has at most kHeldChunks chunks.
template <Transform kTransform, class Format, class Values, class Codec>
__global__ void __launch_bounds__(kLongRunThreadsMax, kLongRunBlocksMin<kTransform, Format, Codec>)
    EncodeLongRuns(const __grid_constant__ FusedRules rules, const __grid_constant__ FusedTensors tensors,
                   RunGeometry runs, FusedTile tile) {
  constexpr bool kAsymmetric = kTransform == Transform::kDivideAddZero;
  __shared__ uint32_t of_warps[2][32];
  using Encoder = FusedEncoder<kTransform, Format, Values, Codec>;
  const FusedTensor& tensor = tensors.parts[blockIdx.y].tensor;
  const uint32_t run_count = tensors.parts[blockIdx.y].count;
  const uint32_t rows = tensors.parts[blockIdx.y].rows;
  const Encoder encoder(rules, tensor);
  const uint32_t row_chunks = static_cast<uint32_t>(runs.row_elements / kChunkElements);
  const uint32_t run_chunks = static_cast<uint32_t>(runs.run_elements / kChunkElements);
  // Without a table there are as many CTAs as runs.
  const uint32_t end = Encoder::kHasTable ? run_count : min(blockIdx.x + 1, run_count);
  for (uint32_t run = blockIdx.x; run < end; run += gridDim.x) {
    const uint32_t first_row = run / tile.row_runs * static_cast<uint32_t>(runs.band_rows);
    const uint32_t first_column = run % tile.row_runs * run_chunks;
    uint32_t numbers[kHeldChunks];
    bool is_there[kHeldChunks];
    Chunk<Values> chunks[kHeldChunks];
    DeviceRange range;
#pragma unroll
    for (uint32_t i = 0; i < kHeldChunks; ++i) {
      const uint32_t index = threadIdx.x + i * blockDim.x;
      const uint32_t row = first_row + (index >> tile.row_chunks_shift);
      const uint32_t column = first_column + (index & tile.row_chunks_mask);
      is_there[i] = index < tile.chunk_count && row < rows && column < row_chunks;
      numbers[i] = is_there[i] ? row * row_chunks + column : first_row * row_chunks + first_column;
      chunks[i] = Chunk<Values>(tensor.values + uint64_t{numbers[i]} * Chunk<Values>::kBytes);
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
    const typename Encoder::RunCodes codes = encoder.CodesOf(scale, range.absmax());
    const bool usual = encoder.IsUsual(codes, scale, range.absmax());
#pragma unroll
    for (uint32_t i = 0; i < kHeldChunks; ++i) {
      encoder.StoreCodes(chunks[i], uint64_t{numbers[i]} * Encoder::kCodeBytes, codes, is_there[i], usual);
      if (!usual && is_there[i]) encoder.StoreUnusual(numbers[i], scale, range.absmax());
    }
    __syncthreads();
  }
}

// Of a multiprocessor, with tables.
inline constexpr uint64_t kLongTableBlocks = 8;

// `chunks`: of the largest tensor.
template <class Values>
uint64_t TurnsOf(const LaunchPolicy& policy, const FusedRules& rules, uint32_t lanes, uint64_t chunks, bool has_table) {
  constexpr uint64_t kTurnChunks = uint64_t{kShortRunThreads<Values>} * kHeldChunks;
  if (rules.nests) return uint64_t{kNestedBlockScales} * lanes / kTurnChunks;
  if (has_table) {
    return BalancedTurns((chunks + kTurnChunks - 1) / kTurnChunks, policy.table_threads / kShortRunThreads<Values>,
                         policy.multiprocessors);
  }
  return chunks < policy.two_turns_chunks ? 1 : 2;
}

template <Transform kTransform, class Format, class Values>
struct FusedLauncher {
  static void Run(std::span<const DeviceFusedJob> jobs, cudaStream_t stream) {
    if constexpr (kTransform == Transform::kDivideAddZero && sizeof(typename Values::Bits) == 2) {
      const FusedRules& rules = jobs[0].rules;
      if (rules.method != ScaleMethod::kNone && rules.rounding != DataType::kFloat32) {
        return RunWith<ZeroPointChunkCodec<Format, true>>(jobs, stream);
      }
    }
    RunWith<ChunkCodec<kTransform, Format>>(jobs, stream);
  }

 private:
  template <class Codec>
  static void RunWith(std::span<const DeviceFusedJob> jobs, cudaStream_t stream) {
    constexpr bool kHasTable = Codec::kHasTable;
    const FusedRules& rules = jobs[0].rules;
    FusedTensors tensors;
    FusedGeometry geometry;
    uint32_t count_max = 0;
    for (size_t i = 0; i < jobs.size(); ++i) {
      geometry = FusedGeometryOf(jobs[i].runs, Format::kBits, rules.method != ScaleMethod::kNone);
      const auto count = static_cast<uint32_t>(geometry.runs * (geometry.lanes > 0 ? geometry.lanes : 1));
      tensors.parts[i] = {jobs[i].tensor, count, static_cast<uint32_t>(geometry.rows.rows)};
      count_max = count_max < count ? count : count_max;
    }
    if (count_max == 0) return;
    if (geometry.lanes > 0) {
      const uint64_t turns = TurnsOf<Values>(jobs[0].policy, rules, geometry.lanes, count_max, kHasTable);
      constexpr uint32_t kThreads = kShortRunThreads<Values>;
      const uint64_t block_chunks = uint64_t{kThreads} * kHeldChunks * turns;
      const auto kernel = geometry.lanes == 1 ? &EncodeShortRuns<kTransform, Format, Values, true, Codec>
                                              : &EncodeShortRuns<kTransform, Format, Values, false, Codec>;
      kernel<<<GridOf((count_max + block_chunks - 1) / block_chunks, jobs.size()), kThreads, 0, stream>>>(
          rules, tensors, static_cast<uint32_t>(std::countr_zero(geometry.lanes)), static_cast<uint32_t>(turns));
      return;
    }
    const uint64_t blocks_max = kHasTable ? uint64_t{jobs[0].policy.multiprocessors} * kLongTableBlocks : kFusedRunsMax;
    EncodeLongRuns<kTransform, Format, Values, Codec>
        <<<GridOf(count_max < blocks_max ? count_max : blocks_max, jobs.size()), geometry.threads, 0, stream>>>(
            rules, tensors, geometry.rows, geometry.tile);
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
