// Values from codes and their stored scales in one kernel. A warp has 512 codes; a thread some that lie together, so
// many that their values are 16 bytes, once in each quarter or half of them: so every store of a warp is one piece of
// memory.
#include <cuda_bf16.h>

#include "kernels/cuda/chunk.cuh"
#include "kernels/cuda/chunk_levels.cuh"
#include "kernels/cuda/code_reader.cuh"
#include "kernels/cuda/device_jobs.h"
#include "kernels/cuda/fused_geometry.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/nested_codes.cuh"
#include "kernels/cuda/run_scales.cuh"

namespace quantd {
namespace {

template <uint32_t kBytes>
__device__ uint64_t LoadCodes(const std::byte* codes) {
  if constexpr (kBytes == 8) {
    const uint2 pair = __ldcs(reinterpret_cast<const uint2*>(codes));
    return uint64_t{pair.y} << 32 | pair.x;
  } else if constexpr (kBytes == 4) {
    return __ldcs(reinterpret_cast<const uint32_t*>(codes));
  } else {
    return __ldcs(reinterpret_cast<const uint16_t*>(codes));
  }
}

// 16 bytes of values, each rounded as Values::Narrow does. What comes out of arithmetic has no NaN but the canonical
// one.
template <class Values>
__device__ void StoreNarrowed(const float* values, std::byte* target) {
  uint32_t words[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if constexpr (std::is_same_v<Values, Float32Values>) {
      words[i] = __float_as_uint(values[i]);
    } else if constexpr (std::is_same_v<Values, BFloat16Values>) {
      const __nv_bfloat162 pair = __floats2bfloat162_rn(values[2 * i], values[2 * i + 1]);
      words[i] = __bfloat16_as_ushort(pair.x) | static_cast<uint32_t>(__bfloat16_as_ushort(pair.y)) << 16;
    } else {
      const __half2 pair = __floats2half2_rn(values[2 * i], values[2 * i + 1]);
      words[i] = __half_as_ushort(pair.x) | static_cast<uint32_t>(__half_as_ushort(pair.y)) << 16;
    }
  }
  __stcs(reinterpret_cast<uint4*>(target), make_uint4(words[0], words[1], words[2], words[3]));
}

__device__ inline uint32_t RunOfChunk(const FusedDecodeGeometry& geometry, uint32_t chunk) {
  if (geometry.run_shift != FusedDecodeGeometry::kNoShift) return chunk >> geometry.run_shift;
  const uint32_t row = geometry.row_chunks.Quotient(chunk);
  const uint32_t run_of_row = geometry.run_chunks.Quotient(geometry.row_chunks.Remainder(chunk, row));
  return geometry.band_rows.Quotient(row) * geometry.row_runs.divisor + run_of_row;
}

template <Restore kRestore, class Format, class Values>
class FusedDecoder {
 public:
  using Bits = typename Values::Bits;
  static constexpr uint32_t kStoredBytes = 16;
  static constexpr uint32_t kPieceElements = kStoredBytes / sizeof(Bits);
  static constexpr uint32_t kPieceBytes = kPieceElements * Format::kBits / 8;
  static constexpr uint32_t kPieces = kChunkElements / kPieceElements;
  static constexpr uint32_t kLanes = 32;
  // Of levels.
  static constexpr float kBias = [] {
    if constexpr (Format::kKind == ElementKind::kInteger) return ChunkLevels<Format>::kBias;
    return 0.0f;
  }();

  __device__ FusedDecoder(const FusedDecodeRules& rules, const FusedDecodeTensor& tensor, uint32_t piece_count)
      : rules_(rules), tensor_(tensor), levels_(rules.code_xor), piece_count_(piece_count) {
    const uint32_t lane = threadIdx.x % kLanes;
    first_ = (blockIdx.x * kBlockThreads + threadIdx.x - lane) * kPieces + lane;
  }

  // Those of a thread.
  struct Pieces {
    uint64_t codes[kPieces];
    float scales[kPieces];
    float zeros[kPieces];  // with the bias of the levels
  };

  // All codes, scales and zero points are fetched before the first of them is waited for.
  __device__ Pieces Load(const FusedDecodeGeometry& geometry) const {
    Pieces pieces;
    uint32_t runs[kPieces];
#pragma unroll
    for (uint32_t i = 0; i < kPieces; ++i) {
      const uint32_t piece = min(first_ + i * kLanes, piece_count_ - 1);
      pieces.codes[i] = LoadCodes<kPieceBytes>(tensor_.codes + uint64_t{piece} * kPieceBytes);
      runs[i] = piece / kPieces;
      pieces.scales[i] = tensor_.scale;
      pieces.zeros[i] = tensor_.zero + kBias;
    }
    if (rules_.method == ScaleMethod::kNone) return pieces;
#pragma unroll
    for (uint32_t& run : runs) run = RunOfChunk(geometry, run);
    const ZeroBits zeros = LoadZeros(geometry, runs);
    LoadScales(runs, pieces.scales);
    UseZeros(zeros, pieces.zeros);
    return pieces;
  }

  __device__ void Store(const Pieces& pieces) const {
#pragma unroll
    for (uint32_t i = 0; i < kPieces; ++i) Store(pieces, i);
  }

 private:
  // Zero points as they are stored: bytes, or words and how far theirs is to be shifted.
  struct ZeroBits {
    uint32_t bits[kPieces];
    uint32_t shifts[kPieces];
  };

  __device__ void LoadScales(const uint32_t (&runs)[kPieces], float (&scales)[kPieces]) const {
    if (Format::kKind == ElementKind::kLevels && rules_.nests) {
#pragma unroll
      for (uint32_t i = 0; i < kPieces; ++i) {
        scales[i] =
            DecodeNestedScale(rules_.nested_code, static_cast<uint32_t>(tensor_.stored[runs[i]]),
                              __ldg(tensor_.nested_scales + runs[i] / kNestedBlockScales), tensor_.nested_offset);
      }
      return;
    }
    ScaleParameters parameters = rules_.parameters;
    parameters.global_scale = tensor_.global_scale;
    RestoreRunScales<Format::kKind>(rules_.method, rules_.rounding, tensor_.stored, runs, parameters, scales);
  }

  __device__ ZeroBits LoadZeros(const FusedDecodeGeometry& geometry, const uint32_t (&runs)[kPieces]) const {
    ZeroBits zeros{};
    if constexpr (Format::kKind == ElementKind::kInteger) {
      if (rules_.has_packed_zeros) {
#pragma unroll
        for (uint32_t i = 0; i < kPieces; ++i) {
          const uint32_t row = geometry.row_runs.Quotient(runs[i]);
          const uint32_t column = geometry.row_runs.Remainder(runs[i], row);
          zeros.bits[i] = __ldg(tensor_.packed_zeros + (row / 8 * geometry.row_runs.divisor + column));
          zeros.shifts[i] = row % 8 * 4;
        }
      } else if (rules_.has_zero_points) {
#pragma unroll
        for (uint32_t i = 0; i < kPieces; ++i) {
          zeros.bits[i] = static_cast<uint32_t>(__ldg(tensor_.zero_points + runs[i]));
        }
      }
    }
    return zeros;
  }

  __device__ void UseZeros(const ZeroBits& stored, float (&zeros)[kPieces]) const {
    if constexpr (Format::kKind == ElementKind::kInteger) {
      // The sum with an integer far below 2^22 has it in its low bits.
      constexpr float kMagic = 0x1.8p23f;
      constexpr uint32_t kMagicBits = __builtin_bit_cast(uint32_t, kMagic);
      if (rules_.has_packed_zeros) {
#pragma unroll
        for (uint32_t i = 0; i < kPieces; ++i) {
          zeros[i] = __uint_as_float(kMagicBits | (stored.bits[i] >> stored.shifts[i] & 15)) - (kMagic + 8 - kBias);
        }
      } else if (rules_.has_zero_points) {
#pragma unroll
        for (uint32_t i = 0; i < kPieces; ++i) {
          zeros[i] = __uint_as_float(kMagicBits + stored.bits[i]) - (kMagic - kBias);
        }
      }
    }
  }

  __device__ void Store(const Pieces& pieces, uint32_t i) const {
    const float scale = pieces.scales[i];
    float values[kPieceElements];
    levels_.Decode(pieces.codes[i], values);
#pragma unroll
    for (float& value : values) value = Value(value, scale, pieces.zeros[i]);
    if (first_ + i * kLanes >= piece_count_) return;
    std::byte* const target = tensor_.values + uint64_t{first_} * kStoredBytes + i * kLanes * kStoredBytes;
    if constexpr (kRestore == Restore::kMultiplyFtz) {
      // Only then can a product be a subnormal, which is flushed.
      if (fabsf(scale) < 0x1p-100f && scale != 0) {
        const uint64_t piece = first_ + i * kLanes;
        return DecodeExactly(rules_.code_xor, tensor_.codes + piece * kPieceBytes, scale, target);
      }
    }
    StoreNarrowed<Values>(values, target);
  }

  __device__ static float Value(float level, float scale, float zero) {
    if constexpr (Format::kKind == ElementKind::kInteger) level -= zero;
    if constexpr (kRestore == Restore::kLlmInt8) return level * scale * kLlmInt8Step;
    return level * scale;
  }

  __device__ static __noinline__ void DecodeExactly(uint32_t code_xor, const std::byte* codes, float scale,
                                                    std::byte* values) {
#pragma unroll 1
    for (uint32_t i = 0; i < kPieceElements; ++i) {
      const uint32_t code = DeviceCodeAt<Format>(codes, i) ^ code_xor;
      reinterpret_cast<Bits*>(values)[i] = Values::Narrow(Restored<kRestore, OnDevice<Format>>(code, scale, 0));
    }
  }

  const FusedDecodeRules& rules_;
  const FusedDecodeTensor& tensor_;
  ChunkLevels<Format> levels_;
  uint32_t piece_count_;
  uint32_t first_;  // piece; the others lie kLanes apart
};

// The tensors of a launch, each of which has the CTAs with its number in `blockIdx.y`.
struct FusedDecodeTensors {
  struct Part {
    FusedDecodeTensor tensor;
    uint32_t piece_count;
  };
  Part parts[kLaunchTensorsMax];
};

template <Restore kRestore, class Format, class Values>
__global__ void __launch_bounds__(kBlockThreads)
    DecodeChunks(const __grid_constant__ FusedDecodeRules rules, const __grid_constant__ FusedDecodeTensors tensors,
                 FusedDecodeGeometry geometry) {
  using Decoder = FusedDecoder<kRestore, Format, Values>;
  const uint32_t piece_count = tensors.parts[blockIdx.y].piece_count;
  if (blockIdx.x * kBlockThreads * Decoder::kPieces >= piece_count) return;
  const Decoder decoder(rules, tensors.parts[blockIdx.y].tensor, piece_count);
  decoder.Store(decoder.Load(geometry));
}

// Of a multiprocessor, as registers allow.
inline constexpr uint32_t kBlocksAtOnce = 8;

template <Restore kRestore, class Format, class Values>
struct FusedDecodeLauncher {
  static void Run(std::span<const DeviceFusedDecodeJob> jobs, cudaStream_t stream) {
    const FusedDecodeRules& rules = jobs[0].rules;
    FusedDecodeTensors tensors;
    FusedDecodeGeometry geometry;
    constexpr uint32_t kPieces = FusedDecoder<kRestore, Format, Values>::kPieces;
    uint32_t chunks_max = 0;
    for (size_t i = 0; i < jobs.size(); ++i) {
      geometry = FusedDecodeGeometryOf(jobs[i].runs, Format::kBits, rules.method != ScaleMethod::kNone);
      const auto chunk_count = static_cast<uint32_t>(geometry.elements / kChunkElements);
      tensors.parts[i] = {jobs[i].tensor, chunk_count * kPieces};
      chunks_max = chunks_max < chunk_count ? chunk_count : chunks_max;
    }
    if (chunks_max == 0) return;
    // A thread for each chunk.
    const uint64_t blocks = (chunks_max + kBlockThreads - 1) / kBlockThreads;
    const LaunchPolicy& policy = jobs[0].policy;
    const bool are_many = blocks * jobs.size() > uint64_t{kBlocksAtOnce} * policy.multiprocessors;
    const uint32_t shared_bytes = sizeof(typename Values::Bits) == 4 && are_many ? policy.wide_decode_bytes : 0;
    DecodeChunks<kRestore, Format, Values>
        <<<GridOf(blocks, jobs.size()), kBlockThreads, shared_bytes, stream>>>(rules, tensors, geometry);
  }
};
template <class Format, class Values>
using FusedDecodeMultiply = FusedDecodeLauncher<Restore::kMultiply, Format, Values>;
template <class Format, class Values>
using FusedDecodeMultiplyFtz = FusedDecodeLauncher<Restore::kMultiplyFtz, Format, Values>;
template <class Format, class Values>
using FusedDecodeLlmInt8 = FusedDecodeLauncher<Restore::kLlmInt8, Format, Values>;

}  // namespace

FusedDecodeLaunch FindFusedDecodeLaunch(Restore restore, Element element, DataType values) {
  const ElementKind kind = InfoOf(element).kind;
  if (restore == Restore::kMultiply) {
    if (kind == ElementKind::kLevels) {
      return FindByFormat<ElementKind::kLevels, FusedDecodeMultiply, FusedDecodeLaunch>(FormatList<Nf4>{}, element,
                                                                                        values);
    }
    if (kind == ElementKind::kMiniFloat) {
      return FindByFormat<ElementKind::kMiniFloat, FusedDecodeMultiply, FusedDecodeLaunch>(AllFormats{}, element,
                                                                                           values);
    }
    return FindByFormat<ElementKind::kInteger, FusedDecodeMultiply, FusedDecodeLaunch>(FormatList<Int4, Int8>{},
                                                                                       element, values);
  }
  if (restore == Restore::kMultiplyFtz) {
    return FindByFormat<ElementKind::kLevels, FusedDecodeMultiplyFtz, FusedDecodeLaunch>(AllFormats{}, element, values);
  }
  return FindByFormat<ElementKind::kInteger, FusedDecodeLlmInt8, FusedDecodeLaunch>(FormatList<Int8>{}, element,
                                                                                    values);
}

}  // namespace quantd
