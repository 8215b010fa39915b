// How four registers of transformed values become codes, a struct for each kind of element: the codes in 32-bit lanes,
// and what is left to do when they are bytes.
#pragma once

#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/threshold_bins.h"
#include "kernels/format/dynamic8_cells.h"
#include "kernels/format/format_list.h"

namespace quantd {
namespace {

// What all have in common; each codec hides what it has its own of.
template <class L>
struct UnsignedCodec {
  using Float = typename L::Float;
  using Int = typename L::Int;
  static bool CanEncode(const EncodeJob& job) { return job.code_xor == 0 && !job.ieee_overflow; }
  static Int PackBytes(Int low_words, Int high_words) { return L::PackUnsignedBytes(low_words, high_words); }
  static Int Finish(Int bytes) { return bytes; }
  static Int Magnitude(Float y) { return L::And(L::Bits(y), L::Splat(0x7fffffffu)); }
};

template <class L, class Format>
struct Codec;

inline constexpr ThresholdTable kNf4Table = MakeThresholdTable<Nf4Curve>(kNf4Thresholds);
inline constexpr ThresholdTable kFp4BnbTable = MakeThresholdTable<Fp4BnbCurve>(kFp4BnbThresholds);
// By the rank, and 8 more if the value is negative.
alignas(16) inline constexpr uint8_t kFp4BnbCodes[16] = {0, 1, 6, 7, 4, 5, 2, 3, 8, 9, 14, 15, 12, 13, 10, 11};

// value · (slope - bend · value²), rounded; the integer is in the low bits.
template <class L, class Curve>
inline typename L::Int BinOf(typename L::Float value, typename L::Float square) {
  const auto slope = L::NegatedMultiplyAdd(square, L::Splat(Curve::kBend), L::Splat(Curve::kSlope));
  return L::Bits(L::MultiplyAdd(value, slope, L::Splat(kRoundingMagic)));
}
inline constexpr uint32_t kMagicBits = std::bit_cast<uint32_t>(kRoundingMagic);

template <class L>
struct BinnedCodec : UnsignedCodec<L> {
  using Float = typename L::Float;
  using Int = typename L::Int;
  // No NaN and nothing beyond the last bin.
  static bool Covers(Float y0, Float y1, Float y2, Float y3) {
    const Int largest = L::MaxUnsigned(L::MaxUnsigned(Square(y0), Square(y1)), L::MaxUnsigned(Square(y2), Square(y3)));
    return !L::AnyAbove(largest, L::Splat(std::bit_cast<uint32_t>(kBinnedMagnitude * kBinnedMagnitude)));
  }
  // As unsigned numbers NaN of either sign is above all others.
  static Int Square(Float y) { return L::Bits(L::Multiply(y, y)); }
};

template <class L>
struct Codec<L, Nf4> : BinnedCodec<L> {
  using Float = typename L::Float;
  using Int = typename L::Int;
  // Written out, because compilers build implicit constructors for the baseline target.
  explicit Codec(const EncodeJob&) : table(L::LoadTable16(kNf4Table.threshold.data())) {}
  Int Codes(Float, Float y) const {
    const Int bin = BinOf<L, Nf4Curve>(y, L::Multiply(y, y));
    const Int rank = L::Subtract(bin, L::Splat(kMagicBits + Nf4Curve::kFirstBin));
    return L::Increment(L::Greater(y, L::LookUpSigned(table, bin, y)), rank);
  }
  typename L::Table16 table;
};

template <class L>
struct Codec<L, Fp4Bnb> : BinnedCodec<L> {
  using Float = typename L::Float;
  using Int = typename L::Int;
  explicit Codec(const EncodeJob&)
      : table(L::LoadTable16(kFp4BnbTable.threshold.data())), codes(L::LoadByteTable(kFp4BnbCodes)) {}
  Int Codes(Float x, Float y) const {
    const Float magnitude = L::AsFloat(this->Magnitude(y));
    const Int bin = BinOf<L, Fp4BnbCurve>(magnitude, L::Multiply(y, y));
    const Int rank =
        L::Increment(L::Greater(magnitude, L::LookUpPositive(table, bin)), L::Subtract(bin, L::Splat(kMagicBits)));
    // Subnormal values and products count as zeros, which are not negative.
    const auto negative = L::AtMost(L::Max(x, y), L::Splat(-0x1p-126f));
    return L::OrWhere(negative, rank, L::Splat(8u));
  }
  Int Finish(Int bytes) const { return L::ShuffleBytes(codes, bytes); }
  typename L::Table16 table;
  Int codes;
};

template <class L>
struct Codec<L, Dynamic8> : UnsignedCodec<L> {
  using Float = typename L::Float;
  using Int = typename L::Int;
  explicit Codec(const EncodeJob&) {}
  // No NaN, and below 2, where the cells end.
  static bool Covers(Float y0, Float y1, Float y2, Float y3) {
    using Base = UnsignedCodec<L>;
    const Int largest =
        L::Max(L::Max(Base::Magnitude(y0), Base::Magnitude(y1)), L::Max(Base::Magnitude(y2), Base::Magnitude(y3)));
    return !L::Any(L::Greater(largest, L::Splat(0x3fffffffu)));
  }
  Int Codes(Float, Float y) const {
    const Int magnitude = this->Magnitude(y);
    const Int cell = L::Subtract(L::template ShiftRight<kDynamic8CellShift>(magnitude), L::Splat(kDynamic8FirstCell));
    const Int sign = L::template ShiftRightSigned<31>(L::Bits(y));
    const Int index = L::Add(L::Max(cell, L::Splat(0u)), L::And(sign, L::Splat(kDynamic8Cells)));
    const Int within = L::And(magnitude, L::Splat(kDynamic8CellMask));
    const Int entry = L::Gather(kDynamic8CellEntries.data(), index);
    // Below the first cell the bits within count for nothing, because that has no boundary.
    const Int rank = L::template ShiftRight<kDynamic8RankShift>(L::Add(entry, within));
    return L::Xor(rank, L::And(sign, L::Splat(0xffu)));
  }
};

// Magnitudes of values that are not NaN, by adding a power of two so large that the sum's last bit is the last of the
// code's mantissa: the low bits of the sum then count those, and its exponent is the code's, from kBase on.
template <class L, class Format>
struct MagnitudeCodes {
  using Float = typename L::Float;
  using Int = typename L::Int;
  static constexpr int kMantissa = Format::kMantissaBits;
  static constexpr bool kTiesAreEven = kMantissa > 0;  // the count's last bit is the code's
  static constexpr int kShift = kTiesAreEven ? 7 - kMantissa : 0;
  static constexpr uint32_t kSmallestNormal = (128u - Format::kBias) << 23;
  static constexpr uint32_t kRuler = (23u - kMantissa) << 23;
  static constexpr uint32_t kBase = kTiesAreEven ? (kSmallestNormal + kRuler) >> 16 : 0;

  // The code, shifted left by kShift, plus kBase; below 2^15.
  static Int Raised(Float y) {
    const Float magnitude = L::LimitMagnitude(y, L::Splat(Format::kLargest));
    if constexpr (!kTiesAreEven) return PowersOfTwo(magnitude);
    const Int exponent = L::Max(L::And(L::Bits(magnitude), L::Splat(0x7f800000u)), L::Splat(kSmallestNormal));
    const Float sum = L::Add(magnitude, L::AsFloat(L::Add(exponent, L::Splat(kRuler))));
    return L::MultiplyAddWords(L::Bits(sum), L::Splat(1u << 16 | 1u << kShift));
  }
  static Int OfWords(Int raised) {
    return L::template ShiftRightWords<kShift>(L::SubtractWords(raised, L::SplatWords(kBase)));
  }
  static Int Of(Float y) { return L::template ShiftRight<kShift>(L::Subtract(Raised(y), L::Splat(kBase))); }

 private:
  // As MiniFloat::EncodeMagnitude.
  static Int PowersOfTwo(Float magnitude) {
    constexpr uint32_t kMagic = (128u - Format::kBias + 23u) << 23;
    const Int bits = L::Bits(magnitude);
    const Int odd = L::And(L::template ShiftRight<23>(bits), L::Splat(1u));
    const Int rounded = L::Add(L::Add(bits, L::Splat((1u << 22) - 1 - ((127u - Format::kBias) << 23))), odd);
    const Int subnormal =
        L::Subtract(L::Bits(L::Add(magnitude, L::Splat(std::bit_cast<float>(kMagic)))), L::Splat(kMagic));
    const auto is_subnormal = L::Greater(L::Splat(Format::kSmallestNormal), magnitude);
    return L::Select(is_subnormal, subnormal, L::template ShiftRight<23>(rounded));
  }
};

template <class L, class Format>
  requires(Format::kKind == ElementKind::kMiniFloat)
struct Codec<L, Format> : UnsignedCodec<L> {
  using Float = typename L::Float;
  using Int = typename L::Int;
  using Magnitudes = MagnitudeCodes<L, Format>;
  explicit Codec(const EncodeJob&) {}
  static bool Covers(Float y0, Float y1, Float y2, Float y3) { return !L::AnyNan(y0, y1, y2, y3); }
  static Int Codes(Float, Float y) { return Magnitudes::Raised(y); }
  static Int PackBytes(Int low_words, Int high_words) {
    return L::PackUnsignedBytes(Magnitudes::OfWords(low_words), Magnitudes::OfWords(high_words));
  }
  // Those of bytes. Saturation keeps them.
  static Int Signs(Float x0, Float x1, Float x2, Float x3) {
    const Int low_words = L::PackWords(L::Bits(x0), L::Bits(x1));
    const Int high_words = L::PackWords(L::Bits(x2), L::Bits(x3));
    const Int signs = L::And(L::PackSignedBytes(low_words, high_words), L::SplatBytes(0x80));
    return L::template ShiftRight<8 - Format::kBits>(signs);
  }
};

// Clamped when they are bytes: for bounds that are integers, rounding first makes no difference.
template <class L, class Format>
  requires(Format::kKind == ElementKind::kInteger)
struct Codec<L, Format> {
  using Float = typename L::Float;
  using Int = typename L::Int;
  static float Bound(float bound) { return Clamp(bound, static_cast<float>(Format::kLowest), Format::kLargest); }
  static bool CanEncode(const EncodeJob& job) {
    return job.lowest <= job.highest && std::rint(job.lowest) == job.lowest && std::rint(job.highest) == job.highest &&
           job.code_xor < (1u << Format::kBits);
  }
  explicit Codec(const EncodeJob& job)
      : lowest(L::SplatBytes(static_cast<uint8_t>(static_cast<int>(Bound(job.lowest))))),
        highest(L::SplatBytes(static_cast<uint8_t>(static_cast<int>(Bound(job.highest))))),
        code_xor(L::SplatBytes(static_cast<uint8_t>(job.code_xor))) {}
  static bool Covers(Float, Float, Float, Float) { return true; }
  static Int Codes(Float, Float y) { return L::Round(y); }
  static Int PackBytes(Int low_words, Int high_words) { return L::PackSignedBytes(low_words, high_words); }
  Int Finish(Int bytes) const {
    const Int clamped = L::MinBytes(L::MaxBytes(bytes, lowest), highest);
    return L::Xor(L::And(clamped, L::SplatBytes((1u << Format::kBits) - 1)), code_xor);
  }
  Int lowest;
  Int highest;
  Int code_xor;
};

template <class L, class Format>
  requires(Format::kKind == ElementKind::kCast)
struct Codec<L, Format> : UnsignedCodec<L> {
  using Float = typename L::Float;
  using Int = typename L::Int;
  explicit Codec(const EncodeJob&) {}
  static bool CanEncode(const EncodeJob& job) { return job.code_xor == 0; }
  static bool Covers(Float y0, Float y1, Float y2, Float y3) { return !L::AnyNan(y0, y1, y2, y3); }
  Int Codes(Float, Float y) const {
    if constexpr (std::is_same_v<Format, Float16>) return L::Float16Bits(y);
    return L::template ShiftRight<16>(L::RoundUpperHalf(y));
  }
};

// One step's codes from bytes in order.
template <class L, class Format>
inline void StoreCodes(std::byte* target, typename L::Int bytes) {
  if constexpr (Format::kBits == 8) {
    L::StoreInts(target, bytes);
  } else if constexpr (Format::kBits == 4) {
    L::template StoreNibbles<Format::kFirstInHighNibble>(target, bytes);
  } else {
    alignas(64) uint64_t eights[L::kStep / 8];
    L::StoreInts(eights, bytes);
    // Eight codes are kBits bytes.
    for (const uint64_t eight : eights) {
      const uint64_t packed = _pext_u64(eight, 0x0101010101010101u * ((1u << Format::kBits) - 1));
      std::memcpy(target, &packed, Format::kBits);
      target += Format::kBits;
    }
  }
}

}  // namespace
}  // namespace quantd
