// What is done with arrays over channels and with clippings, a register of values at a time.
#pragma once

#include "kernels/cpu/portable_kernels-inl.h"
#include "kernels/cpu/simd_runs-inl.h"

namespace quantd {
namespace {

template <class L, class Values>
typename L::Float LoadRegister(const std::byte* values) {
  if constexpr (std::is_same_v<Values, BFloat16Values>) {
    return L::AsFloat(L::template ShiftLeft<16>(L::LoadWords(values)));
  } else if constexpr (std::is_same_v<Values, Float16Values>) {
    return L::FromFloat16Bits(L::LoadWords(values));
  } else {
    return L::LoadFloats(values);
  }
}

// No lane is NaN.
template <class L, class Values>
void StoreRegister(std::byte* values, typename L::Float floats) {
  if constexpr (std::is_same_v<Values, BFloat16Values>) {
    L::StoreWords(values, L::template ShiftRight<16>(L::RoundUpperHalf(floats)));
  } else if constexpr (std::is_same_v<Values, Float16Values>) {
    L::StoreWords(values, L::Float16Bits(floats));
  } else {
    L::StoreFloats(values, floats);
  }
}

template <class L, class Values>
void SimdMultiply(const MultiplyJob& job) {
  constexpr size_t kValueBytes = sizeof(typename Values::Bits);
  const auto portable = [&](uint64_t begin, uint64_t count) {
    kBaselineKernels.multiply[kFloatTypeIndexOf<Values>]({job.values + begin * kValueBytes,
                                                          job.factors + begin * sizeof(float), count,
                                                          job.products + begin * kValueBytes});
  };
  uint64_t i = 0;
  for (; i + L::kStep <= job.count; i += L::kStep) {
    typename L::Float products[4];
    for (size_t k = 0; k < 4; ++k) {
      const uint64_t at = i + k * L::kLanes;
      products[k] = L::Multiply(LoadRegister<L, Values>(job.values + at * kValueBytes),
                                L::LoadFloats(job.factors + at * sizeof(float)));
    }
    if (L::AnyNan(products[0], products[1], products[2], products[3])) {
      portable(i, L::kStep);
      continue;
    }
    for (size_t k = 0; k < 4; ++k) {
      StoreRegister<L, Values>(job.products + (i + k * L::kLanes) * kValueBytes, products[k]);
    }
  }
  if (i < job.count) portable(i, job.count - i);
}

// All sums stay in registers.
template <class L, bool kZeros, bool kWeights>
void SimdClipErrors(const ClipJob& job) {
  using Float = typename L::Float;
  constexpr size_t kRegisters = kClipLanes / L::kLanes;
  constexpr float kMagic = 0x1.8p23f;  // as RoundEven has it
  const Float lowest = L::Splat(job.lowest);
  const Float highest = L::Splat(job.highest);
  const Float magic = L::Splat(kMagic);
  Float sums[kClipsAtOnce][kRegisters];
  for (size_t clip = 0; clip < kClipsAtOnce; ++clip) {
    for (size_t k = 0; k < kRegisters; ++k) sums[clip][k] = L::LoadFloats(job.sums + clip * kClipLanes + k * L::kLanes);
  }
  const uint64_t whole = job.count / kClipLanes * kClipLanes;
  for (uint64_t i = 0; i < whole; i += kClipLanes) {
    for (size_t k = 0; k < kRegisters; ++k) {
      const Float values = L::LoadFloats(job.values + i + k * L::kLanes);
      for (size_t clip = 0; clip < kClipsAtOnce; ++clip) {
        Float exact = L::Multiply(values, L::Splat(job.reciprocals[clip]));
        if constexpr (kZeros) exact = L::Add(exact, L::Splat(job.zeros[clip]));
        const Float clamped = L::Min(L::Max(exact, lowest), highest);
        const Float error = L::Subtract(exact, L::Subtract(L::Add(clamped, magic), magic));
        Float square = L::Multiply(error, error);
        if constexpr (kWeights) square = L::Multiply(square, L::LoadFloats(job.weights + i + k * L::kLanes));
        sums[clip][k] = L::Add(sums[clip][k], square);
      }
    }
  }
  for (size_t clip = 0; clip < kClipsAtOnce; ++clip) {
    for (size_t k = 0; k < kRegisters; ++k) L::StoreFloats(job.sums + clip * kClipLanes + k * L::kLanes, sums[clip][k]);
  }
  AddClipErrors(job, whole);
}

template <class L>
void SimdClipErrorsOf(const ClipJob& job) {
  if (job.zeros == nullptr) {
    return job.weights == nullptr ? SimdClipErrors<L, false, false>(job) : SimdClipErrors<L, false, true>(job);
  }
  return job.weights == nullptr ? SimdClipErrors<L, true, false>(job) : SimdClipErrors<L, true, true>(job);
}

}  // namespace
}  // namespace quantd
