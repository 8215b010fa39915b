// The loops of a target with vector registers: one source, over the target's lanes.
#pragma once

#include "kernels/cpu/portable_kernels-inl.h"
#include "kernels/cpu/simd_channels-inl.h"
#include "kernels/cpu/simd_decode-inl.h"
#include "kernels/cpu/simd_ggml-inl.h"
#include "kernels/cpu/simd_ranges-inl.h"
#include "kernels/cpu/simd_scales-inl.h"
#include "kernels/cpu/simd_threshold_encode-inl.h"
#include "kernels/cpu/simd_word_encode-inl.h"

namespace quantd {
namespace {

// False if there is no such encoder for the job.
template <class L, Transform kTransform, class Format, class Values, bool kUnsignedZero>
bool SimdEncodeAs(const EncodeJob& job) {
  using Floats = Encoder<L, kTransform, Format, Values, kUnsignedZero>;
  if (job.run_elements < L::kLanes || !Floats::CanEncode(job)) return false;
  if constexpr (HasWordEncoder<L, Format, Values>()) {
    using Words = WordEncoder<L, kTransform, Format, kUnsignedZero>;
    if (Words::CanEncode(job)) {
      Words words(job);
      WalkRuns<L>(words, job.element_count, job.run_elements);
      return true;
    }
  }
  if constexpr (HasThresholdEncoder<L, kTransform, Format, Values>()) {
    using Thresholds = ThresholdEncoder<L, kTransform, Format, Values, kUnsignedZero>;
    if (job.run_elements >= Thresholds::kRunMin) {
      Thresholds thresholds(job);
      WalkRuns<L>(thresholds, job.element_count, job.run_elements);
      return true;
    }
  }
  Floats floats(job);
  WalkRuns<L>(floats, job.element_count, job.run_elements);
  return true;
}

template <class L, Transform kTransform, class Format, class Values>
void SimdEncode(const EncodeJob& job) {
  if (SimdEncodeAs<L, kTransform, Format, Values, false>(job)) return;
  if constexpr (std::is_same_v<Format, Fp4E2m1>) {
    if (SimdEncodeAs<L, kTransform, Format, Values, true>(job)) return;
  }
  PortableEncodeOf<kTransform, Format, Values>(job);
}

// An element without a vector codec or levels of its own runs on the portable loops.
template <class T>
concept Defined = requires { sizeof(T); };

template <class L>
struct SimdLoops : PortableLoops {
  template <class Values>
  static void Multiply(const MultiplyJob& job) {
    SimdMultiply<L, Values>(job);
  }
  template <class Block, class Values>
  static void EncodeGgml(const std::byte* values, uint64_t element_count, std::byte* blocks) {
    SimdEncodeGgml<L, Block, Values>(values, element_count, blocks);
  }
  template <class Block, class Values>
  static void DecodeGgml(const std::byte* blocks, uint64_t element_count, std::byte* values) {
    SimdDecodeGgml<L, Block, Values>(blocks, element_count, values);
  }
  static void ClipErrors(const ClipJob& job) { SimdClipErrorsOf<L>(job); }
  template <class Values>
  static void Absmax(const RunsJob& job, float* absmax) {
    SimdAbsmax<L, Values>(job, absmax);
  }
  template <class Values>
  static void Range(const RunsJob& job, float* lowest, float* highest) {
    SimdRange<L, Values>(job, lowest, highest);
  }
  template <class Method, class Stored>
  static void Scale(const ScaleJob& job) {
    if constexpr (kHasVectorScale<Method>) {
      SimdScale<L, Method, Stored>(job);
    } else {
      PortableScale<Method, Stored>(job);
    }
  }
  template <class Method, class Stored>
  static void RestoreScale(const RestoreScaleJob& job) {
    SimdRestoreScale<L, Method, Stored>(job);
  }
  template <Transform kTransform, class Format, class Values>
  static void Encode(const EncodeJob& job) {
    // No preset divides for bitsandbytes' FP4, whose code for negative quotients too small for a float is special.
    if constexpr (!Defined<Codec<L, Format>> || (std::is_same_v<Format, Fp4Bnb> && kTransform == Transform::kDivide)) {
      PortableEncodeOf<kTransform, Format, Values>(job);
    } else {
      SimdEncode<L, kTransform, Format, Values>(job);
    }
  }
  template <Restore kRestore, class Format, class Values>
  static void Decode(const DecodeJob& job) {
    // No preset decodes float16 to bfloat16.
    if constexpr (!Defined<Levels<L, Format>> ||
                  (std::is_same_v<Format, Float16> && std::is_same_v<Values, BFloat16Values>)) {
      PortableDecodeOf<kRestore, Format, Values>(job);
    } else {
      SimdDecode<L, kRestore, Format, Values>(job);
    }
  }
};

}  // namespace
}  // namespace quantd
