// Floats of a byte or less: a sign, a few bits of exponent, a few of mantissa, with subnormals.
#pragma once

#include <bit>
#include <cstdint>
#include <string_view>

#include "kernels/format/element.h"

namespace quantd {

// What the codes with all exponent bits set mean.
enum class MiniFloatSpecials : uint8_t {
  kNone,       // ordinary numbers
  kNanOnly,    // the last one is NaN, the others are ordinary numbers
  kInfAndNan,  // as in IEEE 754
};

// kBits in all, of which kMantissa; the exponent's bias is 2^(exponent bits - 1) - 1.
template <int kBitsInAll, int kMantissa, MiniFloatSpecials kSpecialCodes>
struct MiniFloat {
  static constexpr ElementKind kKind = ElementKind::kMiniFloat;
  static constexpr int kBits = kBitsInAll;
  static constexpr bool kFirstInHighNibble = false;
  static constexpr int kMantissaBits = kMantissa;
  static constexpr MiniFloatSpecials kSpecials = kSpecialCodes;
  static constexpr int kBias = (1 << (kBits - kMantissa - 2)) - 1;
  static constexpr uint32_t kSignCode = 1u << (kBits - 1);
  static constexpr bool kHasNan = kSpecials != MiniFloatSpecials::kNone;

  // Codes of magnitudes; kNanCode is of use only if kHasNan.
  static constexpr uint32_t kNanCode = kSignCode - 1;
  static constexpr uint32_t kNanStandIn = (2u << kMantissa) - 1;  // what torchao's casts make of NaN
  static constexpr uint32_t kOverflowCode =
      kSpecials == MiniFloatSpecials::kInfAndNan ? kSignCode - (1u << kMantissa) : kNanCode;
  static constexpr uint32_t kLargestCode = kHasNan ? kOverflowCode - 1 : kSignCode - 1;

  // The magnitude of a code that is a number, exact.
  static constexpr float DecodeMagnitude(uint32_t code) {
    return std::bit_cast<float>(code << (23 - kMantissa)) * std::bit_cast<float>((254u - kBias) << 23);
  }
  static constexpr float kLargest = DecodeMagnitude(kLargestCode);
  static constexpr float kSmallestNormal = DecodeMagnitude(1u << kMantissa);

  // Code of a magnitude, to nearest, a tie to the even code; not NaN, and at most one step above kLargest.
  static constexpr uint32_t EncodeMagnitude(float magnitude) {
    const uint32_t bits = std::bit_cast<uint32_t>(magnitude);
    constexpr int kDropped = 23 - kMantissa;
    const uint32_t rounded = bits + (1u << (kDropped - 1)) - 1 + (bits >> kDropped & 1);
    const uint32_t normal = (rounded >> kDropped) - ((127u - kBias) << kMantissa);
    // The spacing of floats from here on is that of the subnormals, so the addition rounds where they do.
    constexpr uint32_t kMagic = static_cast<uint32_t>(127 + 1 - kBias + kDropped) << 23;
    const uint32_t subnormal = std::bit_cast<uint32_t>(magnitude + std::bit_cast<float>(kMagic)) - kMagic;
    return magnitude < kSmallestNormal ? subnormal : normal;
  }

  // The nearest level, a tie to the even code; beyond the largest the largest. The sign is kept, of zeros too. NaN
  // gives NaN of its sign, or kNanStandIn with its sign where there is none.
  static constexpr uint32_t Encode(float value) {
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    const uint32_t sign = (bits >> 31) * kSignCode;
    const float magnitude = std::bit_cast<float>(bits & 0x7fffffffu);
    if (magnitude != magnitude) return sign | (kHasNan ? kNanCode : kNanStandIn);
    return sign | EncodeMagnitude(magnitude < kLargest ? magnitude : kLargest);
  }

  // The same without saturation: what rounds beyond the largest becomes infinity, or NaN where there is none.
  static constexpr uint32_t EncodeIeee(float value) {
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    const uint32_t sign = (bits >> 31) * kSignCode;
    const float magnitude = std::bit_cast<float>(bits & 0x7fffffffu);
    if (magnitude != magnitude) return sign | kNanCode;
    if (magnitude >= 2 * kLargest) return sign | kOverflowCode;
    const uint32_t code = EncodeMagnitude(magnitude);
    return sign | (code > kLargestCode ? kOverflowCode : code);
  }

  // Exact. Bits above kBits are not looked at.
  static constexpr float Decode(uint32_t code) {
    const uint32_t sign = (code & kSignCode) << (32 - kBits);
    const uint32_t magnitude = code & (kSignCode - 1);
    uint32_t bits = std::bit_cast<uint32_t>(DecodeMagnitude(magnitude));
    if constexpr (kHasNan) {
      // As torch widens them: infinity, or a quiet NaN that keeps its mantissa.
      if (magnitude > kLargestCode) bits = 0x7f800000u | (magnitude << (23 - kMantissa) & 0x7fffffu);
      if (magnitude > kOverflowCode) bits |= 0x400000u;
    }
    return std::bit_cast<float>(sign | bits);
  }
};

// The OCP 8-bit floats, and the 4-bit float of MX and NVFP4.
struct Fp8E4m3 : MiniFloat<8, 3, MiniFloatSpecials::kNanOnly> {
  static constexpr Element kElement = Element::kFp8E4m3;
  static constexpr std::string_view kName = "fp8_e4m3";
};
struct Fp8E5m2 : MiniFloat<8, 2, MiniFloatSpecials::kInfAndNan> {
  static constexpr Element kElement = Element::kFp8E5m2;
  static constexpr std::string_view kName = "fp8_e5m2";
};
struct Fp4E2m1 : MiniFloat<4, 1, MiniFloatSpecials::kNone> {
  static constexpr Element kElement = Element::kFp4E2m1;
  static constexpr std::string_view kName = "fp4_e2m1";
};
// Powers of two only.
struct Fp4E3m0 : MiniFloat<4, 0, MiniFloatSpecials::kNone> {
  static constexpr Element kElement = Element::kFp4E3m0;
  static constexpr std::string_view kName = "fp4_e3m0";
};
static_assert(Fp8E4m3::kLargest == 448 && Fp8E5m2::kLargest == 57344 && Fp4E2m1::kLargest == 6 &&
              Fp4E3m0::kLargest == 16);

}  // namespace quantd
