// ggml's blocks by registers. Codes lie as 32 bytes between their block's nibbles and the registers of values.
#pragma once

#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/simd_channels-inl.h"
#include "kernels/format/ggml.h"
#include "kernels/format/value_types.h"

namespace quantd {
namespace {

// The portable loop, as it is compiled for every machine.
template <class Block, class Values>
void BaselineEncodeGgml(const std::byte* values, uint64_t element_count, std::byte* blocks) {
  kBaselineKernels.ggml[kGgmlIndexOf<Block>].encode[kFloatTypeIndexOf<Values>](values, element_count, blocks);
}
template <class Block, class Values>
void BaselineDecodeGgml(const std::byte* blocks, uint64_t element_count, std::byte* values) {
  kBaselineKernels.ggml[kGgmlIndexOf<Block>].decode[kFloatTypeIndexOf<Values>](blocks, element_count, values);
}

inline float LoadHalfFloat(const std::byte* source) { return _cvtsh_ss(LoadUnaligned<uint16_t>(source)); }
inline void StoreHalfFloat(std::byte* target, float value) {
  StoreUnaligned(target, static_cast<uint16_t>(_cvtss_sh(value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)));
}

// ---- Codes and the bytes of a block ----

template <class Block>
struct GgmlCodes;

template <>
struct GgmlCodes<GgmlByteBlock> {
  static constexpr int kMiddle = 0;  // of the stored code of 0
  static __m256i Load(const std::byte* codes) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes)); }
  static void Store(std::byte* codes, __m256i bytes) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes), bytes); }
};

template <int kBits, bool kHasMinimum>
struct GgmlCodes<GgmlNibbleBlock<kBits, kHasMinimum>> {
  static constexpr int kMiddle = kHasMinimum ? 0 : 1 << (kBits - 1);

  static __m256i Load(const std::byte* codes) {
    const __m128i nibbles = _mm_loadu_si128(reinterpret_cast<const __m128i*>(codes + kFifthBitBytes));
    const __m256i both = _mm256_set_m128i(_mm_srli_epi16(nibbles, 4), nibbles);
    __m256i bytes = _mm256_and_si256(both, _mm256_set1_epi8(15));
    if constexpr (kBits == 5) {
      const __m256i spread = _mm256_shuffle_epi8(_mm256_set1_epi32(LoadUnaligned<int32_t>(codes)), ByteOfBit());
      const __m256i is_set = _mm256_cmpeq_epi8(_mm256_and_si256(spread, BitInByte()), BitInByte());
      bytes = _mm256_or_si256(bytes, _mm256_and_si256(is_set, _mm256_set1_epi8(16)));
    }
    return _mm256_sub_epi8(bytes, _mm256_set1_epi8(kMiddle));
  }
  // Not less than 0.
  static void Store(std::byte* codes, __m256i bytes) {
    if constexpr (kBits == 5) StoreUnaligned(codes, _mm256_movemask_epi8(_mm256_slli_epi16(bytes, 3)));
    const __m256i low = _mm256_and_si256(bytes, _mm256_set1_epi8(15));
    const __m128i nibbles =
        _mm_or_si128(_mm256_castsi256_si128(low), _mm_slli_epi16(_mm256_extracti128_si256(low, 1), 4));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(codes + kFifthBitBytes), nibbles);
  }

 private:
  static constexpr size_t kFifthBitBytes = kBits == 5 ? 4 : 0;
  static __m256i ByteOfBit() {
    return _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
  }
  static __m256i BitInByte() { return _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201)); }
};

template <class Block>
inline constexpr bool kGgmlHasMinimum = false;
template <int kBits>
inline constexpr bool kGgmlHasMinimum<GgmlNibbleBlock<kBits, true>> = true;

template <class Block>
inline constexpr size_t kGgmlScaleBytes = kGgmlHasMinimum<Block> ? 4 : 2;

// ---- Decoding ----

template <class L, class Block, class Values>
void SimdDecodeGgml(const std::byte* blocks, uint64_t element_count, std::byte* values) {
  constexpr size_t kValueBytes = sizeof(typename Values::Bits);
  constexpr size_t kPair = 2 * L::kLanes;
  for (uint64_t begin = 0; begin < element_count; begin += kGgmlBlockElements, blocks += Block::kBytes) {
    const float scale = LoadHalfFloat(blocks);
    const float minimum = kGgmlHasMinimum<Block> ? LoadHalfFloat(blocks + 2) : 0.0f;
    if (!std::isfinite(scale) || !std::isfinite(minimum)) {
      BaselineDecodeGgml<Block, Values>(blocks, kGgmlBlockElements, values + begin * kValueBytes);
      continue;
    }
    alignas(32) std::byte codes[kGgmlBlockElements];
    _mm256_store_si256(reinterpret_cast<__m256i*>(codes), GgmlCodes<Block>::Load(blocks + kGgmlScaleBytes<Block>));
    for (size_t i = 0; i < kGgmlBlockElements; i += kPair) {
      typename L::Int first, second;
      L::template LoadSignedBytePair<L::template kInterleaved<Values>>(codes + i, first, second);
      auto y0 = L::Multiply(L::Splat(scale), L::ToFloat(first));
      auto y1 = L::Multiply(L::Splat(scale), L::ToFloat(second));
      if constexpr (kGgmlHasMinimum<Block>) {
        y0 = L::Add(y0, L::Splat(minimum));
        y1 = L::Add(y1, L::Splat(minimum));
      }
      L::template StorePair<Values>(values + (begin + i) * kValueBytes, y0, y1);
    }
  }
}

// ---- Encoding ----

// How a block's values become codes.
struct GgmlFactors {
  float inverse;
  float origin;  // subtracted first
};

template <class L, class Block>
struct GgmlEncoding;

template <class L>
struct GgmlEncoding<L, GgmlByteBlock> {
  template <size_t kCount>
  static GgmlFactors Prepare(const typename L::Float (&values)[kCount], std::byte* block) {
    auto largest = L::Bits(L::Splat(0.0f));
    for (const auto value : values) largest = L::Max(largest, L::And(L::Bits(value), L::Splat(0x7fffffffu)));
    const float scale = L::HighestLane(L::AsFloat(largest)) / 127.0f;
    StoreHalfFloat(block, scale);
    return {scale == 0 ? 0.0f : 1.0f / scale, 0};
  }
  // Half away from zero. An infinite or NaN product gives 0.
  static typename L::Int Codes(typename L::Float value, const GgmlFactors& factors) {
    const auto scaled = L::Multiply(value, L::Splat(factors.inverse));
    const auto magnitude = L::AsFloat(L::And(L::Bits(scaled), L::Splat(0x7fffffffu)));
    const auto whole = L::Truncate(magnitude);
    const auto is_up = L::AtMost(L::Splat(0.5f), L::Subtract(magnitude, L::ToFloat(whole)));
    const auto rounded = L::AndWhere(L::Greater(L::Splat(256.0f), magnitude), L::Increment(is_up, whole));
    const auto sign = L::template ShiftRightSigned<31>(L::Bits(scaled));
    return L::Subtract(L::Xor(rounded, sign), sign);
  }
};

template <class L, int kBits, bool kHasMinimum>
struct GgmlEncoding<L, GgmlNibbleBlock<kBits, kHasMinimum>> {
  static constexpr auto kLargestCode = static_cast<float>((1 << kBits) - 1);
  static constexpr auto kHalf = static_cast<float>(1 << (kBits - 1));

  template <size_t kCount>
  static GgmlFactors Prepare(const typename L::Float (&values)[kCount], std::byte* block) {
    auto highest_lanes = values[0];
    auto lowest_lanes = values[0];
    for (size_t i = 1; i < kCount; ++i) {
      highest_lanes = L::Max(highest_lanes, values[i]);
      lowest_lanes = L::Min(lowest_lanes, values[i]);
    }
    const float highest = L::HighestLane(highest_lanes);
    const float lowest = L::LowestLane(lowest_lanes);
    float scale;
    float minimum = 0;
    if constexpr (kHasMinimum) {
      minimum = lowest == 0 ? FirstOf(0, values) : lowest;
      scale = highest == minimum ? 0.0f : (highest - minimum) / kLargestCode;
      StoreHalfFloat(block + 2, minimum);
    } else {
      float largest = highest > -lowest ? highest : lowest;
      if (highest == -lowest) largest = FirstOf(highest, values);
      scale = largest / -kHalf;
    }
    StoreHalfFloat(block, scale);
    return {scale == 0 ? 0.0f : 1.0f / scale, minimum};
  }

  static typename L::Int Codes(typename L::Float value, const GgmlFactors& factors) {
    const auto inverse = L::Splat(factors.inverse);
    const auto moved = kHasMinimum
                           ? L::Add(L::Multiply(L::Subtract(value, L::Splat(factors.origin)), inverse), L::Splat(0.5f))
                           : L::Add(L::Multiply(value, inverse), L::Splat(kHalf + 0.5f));
    const auto code = L::Max(L::Truncate(L::Min(moved, L::Splat(kLargestCode))), L::Splat(0u));
    // Where the inverse is infinite, so that this may be too, or NaN.
    return L::AndWhere(L::AtMost(moved, L::Splat(std::numeric_limits<float>::max())), code);
  }

 private:
  // The first value of this magnitude, with its sign.
  template <size_t kCount>
  [[gnu::noinline]] static float FirstOf(float magnitude, const typename L::Float (&values)[kCount]) {
    alignas(64) float all[kGgmlBlockElements];
    for (size_t i = 0; i < kCount; ++i) L::StoreFloats(all + i * L::kLanes, values[i]);
    return *std::find_if(all, all + kGgmlBlockElements, [&](float value) { return std::fabs(value) == magnitude; });
  }
};

template <class L, class Block, class Values>
void SimdEncodeGgml(const std::byte* values, uint64_t element_count, std::byte* blocks) {
  using Encoding = GgmlEncoding<L, Block>;
  constexpr size_t kValueBytes = sizeof(typename Values::Bits);
  constexpr size_t kRegisters = kGgmlBlockElements / L::kLanes;
  constexpr size_t kBlocksOfStep = L::kStep / kGgmlBlockElements;
  const uint64_t whole = element_count / L::kStep * L::kStep;
  for (uint64_t begin = 0; begin < whole; begin += L::kStep) {
    typename L::Int codes[4];
    for (size_t b = 0; b < kBlocksOfStep; ++b) {
      typename L::Float x[kRegisters];
      for (size_t i = 0; i < kRegisters; ++i) {
        x[i] = LoadRegister<L, Values>(values + (begin + b * kGgmlBlockElements + i * L::kLanes) * kValueBytes);
      }
      const GgmlFactors factors = Encoding::Prepare(x, blocks + b * Block::kBytes);
      for (size_t i = 0; i < kRegisters; ++i) codes[b * kRegisters + i] = Encoding::Codes(x[i], factors);
    }
    alignas(64) std::byte bytes[L::kStep];
    const auto packed = L::PackSignedBytes(L::PackWords(codes[0], codes[1]), L::PackWords(codes[2], codes[3]));
    L::StoreInts(bytes, L::template InOrder<false>(packed));
    for (size_t b = 0; b < kBlocksOfStep; ++b, blocks += Block::kBytes) {
      const auto* const of_block = reinterpret_cast<const __m256i*>(bytes + b * kGgmlBlockElements);
      GgmlCodes<Block>::Store(blocks + kGgmlScaleBytes<Block>, _mm256_load_si256(of_block));
    }
  }
  BaselineEncodeGgml<Block, Values>(values + whole * kValueBytes, element_count - whole, blocks);
}

}  // namespace
}  // namespace quantd
