// ApproxReciprocal in 32-bit lanes. Its sum has 40 bits; the lower 32 give 17 bits of the result, and a division that
// is off by less than 2^16 the others.
#pragma once

#include "kernels/cpu/reciprocal_tables.h"

namespace quantd {
namespace {

// Of magnitudes.
template <class L>
inline typename L::Float FlushedToZero(typename L::Float value) {
  return L::AsFloat(L::AndWhere(L::Greater(L::Bits(value), L::Splat(0x007fffffu)), L::Bits(value)));
}

// approx_reciprocal::TruncatedSquare: partial products of the high and the low byte as masks.
template <class L, int kBit>
inline typename L::Int PartialProduct(typename L::Int high, typename L::Int low) {
  const auto bit_set = L::template ShiftRightSigned<31>(L::template ShiftLeft<31 - kBit>(high));
  return L::And(L::template ShiftRight<8 - kBit>(low), bit_set);
}
template <class L>
inline typename L::Int TruncatedSquare(typename L::Int offset) {
  const auto high = L::template ShiftRight<8>(offset);
  const auto low = L::And(offset, L::Splat(0xffu));
  const auto first = L::Add(L::template ShiftRight<1>(L::Multiply(high, high)), PartialProduct<L, 1>(high, low));
  const auto second = L::Add(PartialProduct<L, 2>(high, low), PartialProduct<L, 3>(high, low));
  const auto third = L::Add(PartialProduct<L, 4>(high, low), PartialProduct<L, 5>(high, low));
  const auto fourth = L::Add(PartialProduct<L, 6>(high, low), PartialProduct<L, 7>(high, low));
  return L::Add(L::Add(first, second), L::Add(third, fourth));
}

// Of finite magnitudes.
template <class L>
inline typename L::Float VectorApproxReciprocal(typename L::Float value) {
  const auto bits = L::Bits(value);
  const auto mantissa = L::And(bits, L::Splat(0x7fffffu));
  const auto segment = L::template ShiftRight<16>(mantissa);
  const auto offset = L::And(mantissa, L::Splat(0xffffu));
  const auto slopes = L::LookUp128(kReciprocalSlopes.data(), segment);
  const auto slope = L::template ShiftRight<10>(slopes);
  const auto curvature = L::And(slopes, L::Splat(0x3ffu));
  const auto sum = L::Add(L::Subtract(L::LookUp128(kReciprocalConstants.data(), segment), L::Multiply(slope, offset)),
                          L::Multiply(curvature, TruncatedSquare<L>(offset)));
  const auto one_to_two = L::AsFloat(L::Or(mantissa, L::Splat(0x3f800000u)));
  const auto estimate = L::Round(L::Divide(L::Splat(0x1p24f), one_to_two));
  const auto error = L::Subtract(L::template ShiftRight<15>(sum), estimate);
  const auto significand = L::Add(estimate, L::template ShiftRightSigned<15>(L::template ShiftLeft<15>(error)));
  const auto exponent = L::Subtract(L::Splat(252u), L::template ShiftRight<23>(bits));
  const auto reciprocal = L::Add(L::template ShiftLeft<23>(exponent), significand);
  const auto unless_large = L::AndWhere(L::Greater(L::Splat(0x7e800001u), bits), reciprocal);
  return L::AsFloat(L::Select(L::Greater(L::Splat(0x00800000u), bits), L::Splat(0x7f800000u), unless_large));
}

}  // namespace
}  // namespace quantd
