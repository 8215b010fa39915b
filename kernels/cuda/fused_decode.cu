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
  static constexpr uint32_t kPieceElements = 16 / sizeof(Bits);
  static constexpr uint32_t kPieceBytes = kPieceElements * Format::kBits / 8;
  static constexpr uint32_t kPieces = kChunkElements / kPieceElements;

  __device__ FusedDecoder(const FusedDecodeRules& rules, const FusedDecodeTensor& tensor)
      : rules_(rules), tensor_(tensor), levels_(rules.code_xor) {}

  // Those of a thread.
  struct Pieces {
    uint64_t begins[kPieces];
    bool are_there[kPieces];
    uint64_t codes[kPieces];
    float scales[kPieces];
    float zeros[kPieces];  // with the bias of the levels
  };

  // All codes are fetched before the first scale is waited for, and so are all scales and zero points.
  __device__ Pieces Load(const FusedDecodeGeometry& geometry, uint64_t elements, uint64_t first,
                         uint64_t distance) const {
    Pieces pieces;
    uint32_t runs[kPieces];
#pragma unroll
    for (uint32_t i = 0; i < kPieces; ++i) {
      pieces.begins[i] = first + i * distance;
      pieces.are_there[i] = pieces.begins[i] < elements;
      const uint64_t begin = pieces.are_there[i] ? pieces.begins[i] : 0;
      pieces.codes[i] = LoadCodes<kPieceBytes>(tensor_.codes + begin * Format::kBits / 8);
      runs[i] = static_cast<uint32_t>(begin / kChunkElements);
      pieces.scales[i] = tensor_.scale;
      pieces.zeros[i] = Biased(tensor_.zero);
    }
    if (rules_.method == ScaleMethod::kNone) return pieces;
#pragma unroll
    for (uint32_t& run : runs) run = RunOfChunk(geometry, run);
    LoadZeros(geometry, runs, pieces.zeros);
    LoadScales(runs, pieces.scales);
    return pieces;
  }

  __device__ void Store(const Pieces& pieces) const {
#pragma unroll
    for (uint32_t i = 0; i < kPieces; ++i) Store(pieces, i);
  }

 private:
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
    RestoreRunScales(rules_.method, rules_.rounding, tensor_.stored, runs, parameters, scales);
  }

  __device__ void LoadZeros(const FusedDecodeGeometry& geometry, const uint32_t (&runs)[kPieces],
                            float (&zeros)[kPieces]) const {
    if constexpr (Format::kKind == ElementKind::kInteger) {
      if (rules_.has_packed_zeros) {
#pragma unroll
        for (uint32_t i = 0; i < kPieces; ++i) zeros[i] = Biased(PackedZero(geometry, runs[i]));
      }
      if (rules_.has_zero_points) {
#pragma unroll
        for (uint32_t i = 0; i < kPieces; ++i) zeros[i] = Biased(static_cast<float>(tensor_.zero_points[runs[i]]));
      }
    }
  }

  __device__ float PackedZero(const FusedDecodeGeometry& geometry, uint32_t run) const {
    const uint32_t row = geometry.row_runs.Quotient(run);
    const uint32_t word =
        __ldg(tensor_.packed_zeros + row / 8 * geometry.row_runs.divisor + geometry.row_runs.Remainder(run, row));
    return static_cast<float>(static_cast<int32_t>(word >> (row % 8 * 4) & 15) - 8);
  }

  __device__ static float Biased(float zero) {
    if constexpr (Format::kKind == ElementKind::kInteger) return zero + ChunkLevels<Format>::kBias;
    return zero;
  }

  __device__ void Store(const Pieces& pieces, uint32_t i) const {
    const float scale = pieces.scales[i];
    float values[kPieceElements];
    levels_.Decode(pieces.codes[i], values);
#pragma unroll
    for (float& value : values) value = Value(value, scale, pieces.zeros[i]);
    if (!pieces.are_there[i]) return;
    if constexpr (kRestore == Restore::kMultiplyFtz) {
      // Only then can a product be a subnormal, which is flushed.
      if (fabsf(scale) < 0x1p-100f && scale != 0)
        return DecodeExactly(rules_.code_xor, tensor_, pieces.begins[i], scale);
    }
    StoreNarrowed<Values>(values, tensor_.values + pieces.begins[i] * sizeof(Bits));
  }

  __device__ static float Value(float level, float scale, float zero) {
    if constexpr (Format::kKind == ElementKind::kInteger) level -= zero;
    if constexpr (kRestore == Restore::kLlmInt8) return level * scale * kLlmInt8Step;
    return level * scale;
  }

  __device__ static __noinline__ void DecodeExactly(uint32_t code_xor, const FusedDecodeTensor& tensor, uint64_t begin,
                                                    float scale) {
#pragma unroll 1
    for (uint64_t i = begin; i < begin + kPieceElements; ++i) {
      const uint32_t code = DeviceCodeAt<Format>(tensor.codes, i) ^ code_xor;
      reinterpret_cast<Bits*>(tensor.values)[i] = Values::Narrow(Restored<kRestore, OnDevice<Format>>(code, scale, 0));
    }
  }

  const FusedDecodeRules& rules_;
  const FusedDecodeTensor& tensor_;
  ChunkLevels<Format> levels_;
};

// The tensors of a launch, each of which has the CTAs with its number in `blockIdx.y`.
struct FusedDecodeTensors {
  struct Part {
    FusedDecodeTensor tensor;
    uint64_t elements;
  };
  Part parts[kLaunchTensorsMax];
};

template <Restore kRestore, class Format, class Values>
__global__ void __launch_bounds__(kBlockThreads)
    DecodeChunks(const __grid_constant__ FusedDecodeRules rules, const __grid_constant__ FusedDecodeTensors tensors,
                 FusedDecodeGeometry geometry) {
  using Decoder = FusedDecoder<kRestore, Format, Values>;
  const Decoder decoder(rules, tensors.parts[blockIdx.y].tensor);
  const uint32_t lane = threadIdx.x % 32;
  const uint64_t first = (ThreadIndex() - lane) * kChunkElements + lane * Decoder::kPieceElements;
  decoder.Store(decoder.Load(geometry, tensors.parts[blockIdx.y].elements, first, 32 * Decoder::kPieceElements));
}

template <Restore kRestore, class Format, class Values>
struct FusedDecodeLauncher {
  static void Run(std::span<const DeviceFusedDecodeJob> jobs, cudaStream_t stream) {
    const FusedDecodeRules& rules = jobs[0].rules;
    FusedDecodeTensors tensors;
    FusedDecodeGeometry geometry;
    uint64_t elements_max = 0;
    for (size_t i = 0; i < jobs.size(); ++i) {
      geometry = FusedDecodeGeometryOf(jobs[i].runs, Format::kBits, rules.method != ScaleMethod::kNone);
      tensors.parts[i] = {jobs[i].tensor, geometry.elements};
      elements_max = elements_max < geometry.elements ? geometry.elements : elements_max;
    }
    if (elements_max == 0) return;
    const uint64_t threads = elements_max / kChunkElements;
    DecodeChunks<kRestore, Format, Values>
        <<<GridOf((threads + kBlockThreads - 1) / kBlockThreads, jobs.size()), kBlockThreads, 0, stream>>>(
            rules, tensors, geometry);
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
