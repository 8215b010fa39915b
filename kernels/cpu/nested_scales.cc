#include "kernels/cpu/nested_scales.h"

#include <cmath>
#include <limits>

#include "kernels/format/bitsandbytes_scales.h"
#include "kernels/format/dynamic8.h"
#include "kernels/format/mini_float.h"
#include "kernels/format/strict_scales.h"
#include "kernels/format/value_types.h"

namespace quantd {
namespace {

// As fmaxf finds it from -FLT_MAX up: NaN is passed over, and the padding of a short block counts.
float LibraryAbsmax(const float* values, uint32_t count) {
  float absmax = count < kNestedBlockScales ? 0.0f : -std::numeric_limits<float>::max();
  for (uint32_t i = 0; i < count; ++i) {
    const float magnitude = std::abs(values[i]);
    if (magnitude > absmax) absmax = magnitude;
  }
  return absmax;
}

// bitsandbytes' own.
struct NestedDynamic8 {
  static RunScale ScaleOf(float absmax) { return BitsandbytesAbsmax::Make({absmax, 0, 0}, {}); }
  static uint32_t Encode(float difference, float factor) { return Dynamic8::Encode(MultiplyFtz(difference, factor)); }
  static float Decode(uint32_t code, float scale) { return MultiplyFtz(Dynamic8::Decode(code), scale); }
};

// The QLoRA paper's wording, in strict arithmetic.
struct NestedE4m3 {
  static RunScale ScaleOf(float absmax) {
    return StrictSymmetric<Float32Scale>::Make({absmax, 0, 0}, {.divisor = Fp8E4m3::kLargest});
  }
  static uint32_t Encode(float difference, float factor) { return Fp8E4m3::Encode(difference / factor); }
  static float Decode(uint32_t code, float scale) { return Fp8E4m3::Decode(code) * scale; }
};

template <class Nested>
void EncodeBlock(const std::byte* scales, uint32_t count, float offset, std::byte* codes, std::byte* nested_scale) {
  float differences[kNestedBlockScales];
  for (uint32_t i = 0; i < count; ++i) differences[i] = LoadUnaligned<float>(scales + i * sizeof(float)) - offset;
  const RunScale scale = Nested::ScaleOf(LibraryAbsmax(differences, count));
  for (uint32_t i = 0; i < count; ++i) codes[i] = static_cast<std::byte>(Nested::Encode(differences[i], scale.factor));
  StoreUnaligned(nested_scale, scale.stored);
}

template <class Nested>
void DecodeBlock(const std::byte* codes, uint32_t count, float nested_scale, float offset, std::byte* scales) {
  for (uint32_t i = 0; i < count; ++i) {
    const float difference = Nested::Decode(static_cast<uint8_t>(codes[i]), nested_scale);
    StoreUnaligned(scales + i * sizeof(float), difference + offset);
  }
}

}  // namespace

void EncodeNestedBlock(NestedCode code, const std::byte* scales, uint32_t count, float offset, std::byte* codes,
                       std::byte* nested_scale) {
  const auto encode = code == NestedCode::kDynamic8 ? EncodeBlock<NestedDynamic8> : EncodeBlock<NestedE4m3>;
  encode(scales, count, offset, codes, nested_scale);
}

void DecodeNestedBlock(NestedCode code, const std::byte* codes, uint32_t count, float nested_scale, float offset,
                       std::byte* scales) {
  const auto decode = code == NestedCode::kDynamic8 ? DecodeBlock<NestedDynamic8> : DecodeBlock<NestedE4m3>;
  decode(codes, count, nested_scale, offset, scales);
}

}  // namespace quantd
