// Scales of as many runs as a register has lanes. Groups with an absmax that is not finite are left to the portable
// loop.
#pragma once

#include "kernels/cpu/portable_kernels-inl.h"
#include "kernels/cpu/simd_codecs-inl.h"
#include "kernels/cpu/simd_reciprocal-inl.h"

namespace quantd {
namespace {

template <class L>
struct Ranges {
  typename L::Float absmax;
  typename L::Float lowest;
  typename L::Float highest;
};
template <class L>
struct Scales {
  typename L::Int stored;
  typename L::Float factor;
  typename L::Float zero;
};

// ---- Roundings ----

template <class L, class Type>
inline typename L::Int ToBits(typename L::Float value) {
  if constexpr (std::is_same_v<Type, Float16Scale>) return L::Float16Bits(value);
  if constexpr (std::is_same_v<Type, BFloat16Scale>) return L::template ShiftRight<16>(L::RoundUpperHalf(value));
  return L::Bits(value);
}
// Of a value that is not NaN.
template <class L, class Type>
inline typename L::Float Rounded(typename L::Float value) {
  if constexpr (std::is_same_v<Type, Float16Scale>) return L::FromFloat16Bits(L::Float16Bits(value));
  if constexpr (std::is_same_v<Type, BFloat16Scale>) {
    return L::AsFloat(L::And(L::RoundUpperHalf(value), L::Splat(0xffff0000u)));
  }
  return value;
}
template <class L, class Type>
inline typename L::Float RoundedToFinite(typename L::Float value) {
  return Rounded<L, Type>(L::Min(value, L::Splat(Type::kLargest)));
}
template <class L>
inline typename L::Float IfZero(typename L::Float value, float instead) {
  const auto is_zero = L::AtMost(value, L::Splat(0.0f));
  return L::AsFloat(L::Select(is_zero, L::Bits(L::Splat(instead)), L::Bits(value)));
}
template <class L>
inline typename L::Float RoundedToInteger(typename L::Float value, float low, float high) {
  const auto magic = L::Splat(0x1.8p23f);
  const auto clamped = L::Min(L::Max(value, L::Splat(low)), L::Splat(high));
  return L::Subtract(L::Add(clamped, magic), magic);
}

// ---- Methods, each as its struct in kernels/format ----

template <class L, class Method>
struct VectorMethod;

template <class L>
struct VectorMethod<L, BitsandbytesAbsmax> {
  static Scales<L> Make(const Ranges<L>& run, const ScaleParameters&) {
    const auto scale = FlushedToZero<L>(run.absmax);
    return {L::Bits(scale), VectorApproxReciprocal<L>(scale), scale};
  }
};
template <class L>
struct VectorMethod<L, BitsandbytesRow> {
  static Scales<L> Make(const Ranges<L>& run, const ScaleParameters&) {
    const auto scale = FlushedToZero<L>(run.absmax);
    // No reciprocal is subnormal, and no product.
    return {L::Bits(scale), L::Multiply(L::Splat(127.0f), VectorApproxReciprocal<L>(scale)), scale};
  }
};

template <class L, class Type>
struct VectorMethod<L, StrictAbsmax<Type>> {
  static Scales<L> Make(const Ranges<L>& run, const ScaleParameters&) {
    const auto scale = RoundedToFinite<L, Type>(run.absmax);
    return {ToBits<L, Type>(scale), IfZero<L>(scale, 1.0f), scale};
  }
};
template <class L, class Type>
struct VectorMethod<L, StrictSymmetric<Type>> {
  static Scales<L> Make(const Ranges<L>& run, const ScaleParameters& parameters) {
    const auto scale = IfZero<L>(RoundedToFinite<L, Type>(L::Divide(run.absmax, L::Splat(parameters.divisor))), 1.0f);
    return {ToBits<L, Type>(scale), scale, scale};
  }
};
template <class L, class Type>
struct VectorMethod<L, CompressedTensorsSymmetric<Type>> {
  static Scales<L> Make(const Ranges<L>& run, const ScaleParameters& parameters) {
    const auto scale =
        IfZero<L>(RoundedToFinite<L, Type>(L::Divide(run.absmax, L::Splat(parameters.divisor))), Type::kEpsilon);
    return {ToBits<L, Type>(scale), scale, scale};
  }
};
template <class L, class Type>
struct VectorMethod<L, StrictAsymmetric<Type>> {
  static Scales<L> Make(const Ranges<L>& run, const ScaleParameters& parameters) {
    const auto half = L::Splat(0.5f);
    const auto half_range = L::Subtract(L::Multiply(run.highest, half), L::Multiply(run.lowest, half));
    const auto half_steps = L::Splat((parameters.highest_code - parameters.lowest_code) / 2);
    const auto scale = IfZero<L>(RoundedToFinite<L, Type>(L::Divide(half_range, half_steps)), 1.0f);
    const auto unrounded = L::Subtract(L::Splat(parameters.lowest_code), L::Divide(run.lowest, scale));
    const auto zero = RoundedToInteger<L>(unrounded, parameters.lowest_code, parameters.highest_code);
    const auto has_range = L::Greater(run.highest, run.lowest);
    return {ToBits<L, Type>(scale), scale, L::AsFloat(L::AndWhere(has_range, L::Bits(zero)))};
  }
};
template <class L, class Type>
struct VectorMethod<L, CompressedTensorsAsymmetric<Type>> {
  static Scales<L> Make(const Ranges<L>& run, const ScaleParameters& parameters) {
    const auto range = RoundedToFinite<L, Type>(L::Subtract(run.highest, run.lowest));
    const auto rounded = RoundedToFinite<L, Type>(L::Divide(range, L::Splat(parameters.divisor)));
    const auto has_scale = L::Greater(rounded, L::Splat(0.0f));
    const auto scale = IfZero<L>(rounded, Type::kEpsilon);
    const auto offset = Rounded<L, Type>(L::Divide(run.lowest, scale));
    const auto unrounded = Rounded<L, Type>(L::Subtract(L::Splat(parameters.lowest_code), offset));
    const auto zero = RoundedToInteger<L>(unrounded, parameters.lowest_code, parameters.highest_code);
    return {ToBits<L, Type>(scale), scale, L::AsFloat(L::AndWhere(has_scale, L::Bits(zero)))};
  }
};

// E4M3 codes that are not NaN.
template <class L>
inline typename L::Float DecodedE4m3(typename L::Int codes) {
  // As float16 they are too small by the difference of the exponents' biases.
  const auto sign = L::template ShiftLeft<8>(L::And(codes, L::Splat(0x80u)));
  const auto magnitude = L::template ShiftLeft<7>(L::And(codes, L::Splat(0x7fu)));
  return L::Multiply(L::FromFloat16Bits(L::Or(sign, magnitude)), L::Splat(256.0f));
}

template <class L, class Type>
struct VectorMethod<L, CompressedTensorsNvfp4<Type>> {
  static Scales<L> Make(const Ranges<L>& run, const ScaleParameters& parameters) {
    const auto quotient = Rounded<L, Type>(L::Divide(run.absmax, L::Splat(parameters.divisor)));
    const auto relative = L::Multiply(L::Splat(parameters.global_scale), quotient);
    const auto rounded = MagnitudeCodes<L, Fp8E4m3>::Of(relative);
    const auto stored =
        L::Select(L::Equal(rounded, L::Splat(0u)), L::Splat(CompressedTensorsNvfp4<Type>::kZeroScale), rounded);
    return {stored, L::Divide(DecodedE4m3<L>(stored), L::Splat(parameters.global_scale)), quotient};
  }
};

// 2^(127 - byte), of bytes below 254.
template <class L>
inline typename L::Float InverseE8m0(typename L::Int byte) {
  return L::AsFloat(L::template ShiftLeft<23>(L::Subtract(L::Splat(254u), byte)));
}

// The exponent of absmax + increment, less that of the element's largest value; 0 if it is negative.
template <class L>
inline typename L::Int E8m0Byte(typename L::Int raised_bits, int32_t largest_exponent) {
  const auto exponent = L::template ShiftRight<23>(raised_bits);
  return L::Max(L::Subtract(exponent, L::Splat(static_cast<uint32_t>(largest_exponent))), L::Splat(0u));
}

template <class L>
struct VectorMethod<L, CompressedTensorsMx<false>> {
  static Scales<L> Make(const Ranges<L>& run, const ScaleParameters& parameters) {
    const auto raised = L::Add(L::Bits(run.absmax), L::Splat(1u << 21));
    const auto byte = E8m0Byte<L>(raised, parameters.largest_exponent);
    return {byte, InverseE8m0<L>(byte), run.absmax};
  }
};
template <class L>
struct VectorMethod<L, CompressedTensorsMx<true>> {
  static Scales<L> Make(const Ranges<L>& run, const ScaleParameters& parameters) {
    const auto bits = L::Add(L::Float16Bits(run.absmax), L::Splat(1u << 8));
    const auto exponent = L::template ShiftRight<10>(bits);
    const auto biased = L::Add(exponent, L::Splat(127u - 15u - static_cast<uint32_t>(parameters.largest_exponent)));
    const auto byte = L::Select(L::Equal(exponent, L::Splat(0u)), L::Splat(127u), biased);
    return {byte, InverseE8m0<L>(byte), run.absmax};
  }
};

template <class L, class Method>
  requires(std::is_same_v<Method, MxFloor> || std::is_same_v<Method, MxCeil> || std::is_same_v<Method, MxEven>)
struct VectorMethod<L, Method> {
  static Scales<L> Make(const Ranges<L>& run, const ScaleParameters& parameters) {
    // A carry out of the fraction raises the exponent: any for ceil, where all bits but the highest exponent's are
    // added.
    const uint32_t increment = std::is_same_v<Method, MxFloor>  ? 0u
                               : std::is_same_v<Method, MxCeil> ? 0x7fffffu
                                                                : 1u << (22 - parameters.mantissa_bits);
    const auto byte = E8m0Byte<L>(L::Add(L::Bits(run.absmax), L::Splat(increment)), parameters.largest_exponent);
    // The library divides by 2^-126 where the scale is smaller.
    return {byte, InverseE8m0<L>(L::Max(byte, L::Splat(1u))), run.absmax};
  }
};

template <class Method>
inline constexpr bool kHasVectorScale = !std::is_same_v<Method, MxRceil>;
template <class Method>
inline constexpr bool kIsE8m0 = false;
template <bool kFloat16>
inline constexpr bool kIsE8m0<CompressedTensorsMx<kFloat16>> = true;
template <>
inline constexpr bool kIsE8m0<MxFloor> = true;
template <>
inline constexpr bool kIsE8m0<MxCeil> = true;
template <>
inline constexpr bool kIsE8m0<MxEven> = true;
template <>
inline constexpr bool kIsE8m0<MxRceil> = true;

// ---- Loops ----

template <class Method>
inline constexpr bool kIsNvfp4 = false;
template <class Type>
inline constexpr bool kIsNvfp4<CompressedTensorsNvfp4<Type>> = true;

// Whether the parameters are such as recipes have.
template <class Method>
inline bool HasUsualParameters(const ScaleParameters& parameters) {
  if (kIsE8m0<Method>) return parameters.largest_exponent >= 2 && parameters.largest_exponent <= 15;
  return !kIsNvfp4<Method> || (parameters.global_scale >= 0x1p-100f && parameters.global_scale <= 0x1p100f);
}

template <class L, class Stored>
inline void StoreScales(std::byte* target, typename L::Int values) {
  if constexpr (sizeof(Stored) == 4) L::StoreInts(target, values);
  if constexpr (sizeof(Stored) == 2) L::StoreWords(target, values);
  if constexpr (sizeof(Stored) == 1) L::StoreBytes(target, values);
}

template <class Method, class Stored>
[[gnu::noinline]] void PortableScales(const ScaleJob& job, uint64_t begin, uint64_t end) {
  ScaleJob part = job;
  part.run_count = end - begin;
  part.absmax += begin;
  if (part.lowest != nullptr) part.lowest += begin;
  if (part.highest != nullptr) part.highest += begin;
  part.stored += begin * sizeof(Stored);
  part.factors += begin;
  if (part.zeros != nullptr) part.zeros += begin;
  PortableScale<Method, Stored>(part);
}

template <class L, class Method, class Stored>
void SimdScale(const ScaleJob& job) {
  const ScaleParameters parameters = *job.parameters;
  const bool asymmetric = job.lowest != nullptr;
  const bool usual = HasUsualParameters<Method>(parameters);
  for (uint64_t i = 0; i < job.run_count; i += L::kLanes) {
    const uint64_t end = std::min<uint64_t>(i + L::kLanes, job.run_count);
    if (!usual || end < i + L::kLanes || L::Any(L::Greater(L::LoadInts(job.absmax + i), L::Splat(0x7f7fffffu)))) {
      PortableScales<Method, Stored>(job, i, end);
      continue;
    }
    const auto absmax = L::LoadFloats(job.absmax + i);
    const Scales<L> scales = VectorMethod<L, Method>::Make({absmax, asymmetric ? L::LoadFloats(job.lowest + i) : absmax,
                                                            asymmetric ? L::LoadFloats(job.highest + i) : absmax},
                                                           parameters);
    StoreScales<L, Stored>(job.stored + i * sizeof(Stored), scales.stored);
    L::StoreFloats(job.factors + i, scales.factor);
    if (job.zeros == nullptr) continue;
    L::StoreFloats(job.zeros + i, asymmetric ? scales.zero : L::Splat(0.0f));
  }
}

// ---- Stored scales back to float32 ----

template <class L, class Method, class Stored>
void SimdRestoreScale(const RestoreScaleJob& job) {
  const ScaleParameters parameters = *job.parameters;
  uint64_t i = 0;
  for (; sizeof(Stored) == 1 && i + L::kLanes <= job.run_count; i += L::kLanes) {
    const auto bytes = L::LoadBytes(job.stored + i);
    if constexpr (kIsE8m0<Method>) {
      const auto subnormal =
          L::Select(L::Equal(bytes, L::Splat(0u)), L::Splat(1u << 22), L::template ShiftLeft<23>(bytes));
      const auto scales = L::Select(L::Equal(bytes, L::Splat(255u)), L::Splat(kCanonicalNan32), subnormal);
      L::StoreInts(job.scales + i, scales);
    } else if constexpr (kIsNvfp4<Method>) {
      if (L::Any(L::Equal(L::And(bytes, L::Splat(0x7fu)), L::Splat(0x7fu)))) {
        PortableRestoreScale<Method, Stored>({L::kLanes, job.stored + i, job.parameters, job.scales + i});
      } else {
        L::StoreFloats(job.scales + i, L::Divide(DecodedE4m3<L>(bytes), L::Splat(parameters.global_scale)));
      }
    }
  }
  // The others only widen, which is quick enough.
  PortableRestoreScale<Method, Stored>(
      {job.run_count - i, job.stored + i * sizeof(Stored), job.parameters, job.scales + i});
}

}  // namespace
}  // namespace quantd
