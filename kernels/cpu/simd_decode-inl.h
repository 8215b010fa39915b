// Decoding, four registers at a time. Runs with a scale beyond the usual, and steps with codes that are NaN or
// infinite, are left to the portable loop; so nothing is NaN here.
#pragma once

#include "kernels/cpu/portable_kernels-inl.h"
#include "kernels/cpu/simd_levels-inl.h"
#include "kernels/cpu/simd_runs-inl.h"

namespace quantd {
namespace {

// What the levels of one register are restored with.
template <class L>
struct Restorer {
  typename L::Float scale;
  typename L::Float zero;
};

// The portable loop, as it is compiled for every machine.
template <Restore kRestore, class Format, class Values>
void PortableDecodeOf(const DecodeJob& job) {
  kBaselineKernels
      .decode[static_cast<size_t>(kRestore)][static_cast<size_t>(Format::kElement)][kFloatTypeIndexOf<Values>](job);
}

template <class L, Restore kRestore, class Format, class Values>
class Decoder {
  using Float = typename L::Float;
  using Int = typename L::Int;
  static constexpr size_t kValueBytes = sizeof(typename Values::Bits);
  static constexpr bool kInterleaved = L::template kInterleaved<Values>;
  static constexpr bool kWidens = Format::kKind == ElementKind::kInteger && Format::kBits != 4 && Format::kBits != 8;
  static constexpr bool kMayHaveZeros = Format::kKind == ElementKind::kInteger && kRestore == Restore::kMultiply;
  // Scales: a level times the smallest is not subnormal, the largest is finite times Levels::kFactor.
  static constexpr float kSmallestScale = kRestore == Restore::kMultiplyFtz ? 0x1p-100f : 0.0f;
  static constexpr float kLargestScale = 0x1p118f;

 public:
  static constexpr bool kPreparesLongRuns = false;  // OneRun has tables of a run's values

  explicit Decoder(const DecodeJob& job) : job_(job), levels_(job) {}

  static bool CanDecode(const DecodeJob& job) {
    return Levels<L, Format>::CanDecode(job) && (kMayHaveZeros || job.zeros == nullptr) &&
           (kRestore != Restore::kLlmInt8 || job.scales != nullptr);
  }

  // All of [begin, begin + count) belongs to one run.
  void OneRun(uint64_t run, uint64_t begin, uint64_t count) {
    const float scale = job_.scales == nullptr ? 1.0f : job_.scales[run];
    const float zero = job_.zeros == nullptr || job_.scales == nullptr ? 0.0f : job_.zeros[run];
    const bool usual = (scale >= kSmallestScale || scale == 0) && scale <= kLargestScale && std::fabs(zero) <= 0x1p24f;
    if (!usual) {
      Portable(run, begin, count);
      return;
    }
    const Restorer<L> splat = {L::Splat(scale * Levels<L, Format>::kFactor), L::Splat(zero)};
    const uint64_t end = begin + count / L::kStep * L::kStep;
    const std::byte* codes = job_.codes + begin * Format::kBits / 8;
    std::byte* values = job_.values + begin * kValueBytes;
    const auto advance = [&] {
      codes += L::kStep * Format::kBits / 8;
      values += L::kStep * kValueBytes;
    };
    if constexpr (Format::kBits == 4 && kValueBytes == 2) {
      const auto table = RestoredTable(splat);
      for (uint64_t i = begin; i < end; i += L::kStep, advance()) {
        L::template StoreLookedUp<Format::kFirstInHighNibble>(values, table, codes);
      }
    } else {
      for (uint64_t i = begin; i < end; i += L::kStep, advance()) {
        if (!Step(codes, splat, splat, splat, splat, values)) Portable(run, i, L::kStep);
      }
    }
    if (count % L::kStep != 0) Tail(run, end, count % L::kStep, splat);
  }

  // Before the steps of `count` runs, at most kLanes.
  void Prepare(uint64_t run, uint64_t count) {
    usual_ = job_.scales != nullptr &&
             AllBetween<L>(LoadRuns<L>(job_.scales + run, count), kSmallestScale, kLargestScale) &&
             (!kMayHaveZeros || job_.zeros == nullptr ||
              AllBetween<L>(LoadRuns<L>(job_.zeros + run, count), -0x1p24f, 0x1p24f));
  }

  // A step of prepared runs of kRun elements. False, and nothing written, if it needs SlowStep.
  template <size_t kRun>
  [[gnu::always_inline]] bool PreparedStep(uint64_t run, uint64_t begin) const {
    return usual_ && Step(job_.codes + begin * Format::kBits / 8, Spread<kRun, 0>(run), Spread<kRun, 1>(run),
                          Spread<kRun, 2>(run), Spread<kRun, 3>(run), job_.values + begin * kValueBytes);
  }
  template <size_t kRun>
  [[gnu::noinline]] void SlowStep(uint64_t run, uint64_t begin) {
    if (usual_) {
      Portable(run, begin, L::kStep);
      return;
    }
    for (size_t i = 0; i < L::kStep / kRun; ++i) OneRun(run + i, begin + i * kRun, kRun);
  }

 private:
  template <size_t kRun, size_t kRegister>
  Restorer<L> Spread(uint64_t run) const {
    const Float scale = L::template SpreadRuns<kRun, kRegister, kInterleaved>(job_.scales + run);
    const Float zero = job_.zeros == nullptr ? L::Splat(0.0f)
                                             : L::template SpreadRuns<kRun, kRegister, kInterleaved>(job_.zeros + run);
    return {L::Multiply(scale, L::Splat(Levels<L, Format>::kFactor)), zero};
  }

  static Float Restored(Float level, const Restorer<L>& restorer) {
    if constexpr (kMayHaveZeros) level = L::Subtract(level, restorer.zero);
    const Float value = L::Multiply(level, restorer.scale);
    return kRestore == Restore::kLlmInt8 ? L::Multiply(value, L::Splat(kLlmInt8Step)) : value;
  }

  // False, and nothing written, if a code is NaN or infinite and not covered.
  [[gnu::always_inline]] bool Step(const std::byte* codes, const Restorer<L>& r0, const Restorer<L>& r1,
                                   const Restorer<L>& r2, const Restorer<L>& r3, std::byte* values) const {
    alignas(64) std::byte widened[kWidens ? L::kStep : 1];
    if constexpr (kWidens) {
      L::StoreInts(widened, UnpackSigned<L, Format>(codes, job_.code_xor));
      codes = widened;
    }
    constexpr size_t kPairBytes = 2 * L::kLanes * (kWidens ? 8 : Format::kBits) / 8;
    if (!Levels<L, Format>::Covers(codes)) return false;
    Float y0, y1, y2, y3;
    levels_.template Load<kInterleaved>(codes, y0, y1);
    levels_.template Load<kInterleaved>(codes + kPairBytes, y2, y3);
    y0 = Restored(y0, r0);
    y1 = Restored(y1, r1);
    y2 = Restored(y2, r2);
    y3 = Restored(y3, r3);
    if constexpr (Format::kKind == ElementKind::kCast) {
      if (L::AnyNan(y0, y1, y2, y3)) return false;
    }
    L::template StorePair<Values>(values, y0, y1);
    L::template StorePair<Values>(values + 2 * L::kLanes * kValueBytes, y2, y3);
    return true;
  }

  // Every code's value, rounded to its 16 bits.
  auto RestoredTable(const Restorer<L>& restorer) const {
    alignas(64) uint32_t values[16];
    for (size_t i = 0; i < 16; i += L::kLanes) {
      const Float value = Restored(L::LoadFloats(levels_.levels + i), restorer);
      if constexpr (std::is_same_v<Values, Float16Values>) {
        L::StoreInts(values + i, L::Float16Bits(value));
      } else {
        L::StoreInts(values + i, L::template ShiftRight<16>(L::RoundUpperHalf(value)));
      }
    }
    return L::MakeWordTable16(values);
  }

  // Fewer elements than a step: the step on a copy.
  void Tail(uint64_t run, uint64_t begin, uint64_t count, const Restorer<L>& splat) {
    alignas(64) std::byte codes[L::kStep * Format::kBits / 8] = {};
    alignas(64) std::byte values[L::kStep * kValueBytes];
    std::memcpy(codes, job_.codes + begin * Format::kBits / 8, (count * Format::kBits + 7) / 8);
    if (!Step(codes, splat, splat, splat, splat, values)) {
      Portable(run, begin, count);
      return;
    }
    std::memcpy(job_.values + begin * kValueBytes, values, count * kValueBytes);
  }

  [[gnu::noinline]] void Portable(uint64_t run, uint64_t begin, uint64_t count) const {
    DecodeJob part = job_;
    part.codes += begin * Format::kBits / 8;
    part.values += begin * kValueBytes;
    part.element_count = count;
    if (part.scales != nullptr) part.scales += run;
    if (part.zeros != nullptr) part.zeros += run;
    PortableDecodeOf<kRestore, Format, Values>(part);
  }

  const DecodeJob& job_;
  Levels<L, Format> levels_;
  bool usual_ = false;  // of the prepared runs
};

template <class L, Restore kRestore, class Format, class Values>
void SimdDecode(const DecodeJob& job) {
  using Kernel = Decoder<L, kRestore, Format, Values>;
  if (job.run_elements < L::kLanes || !Kernel::CanDecode(job)) {
    PortableDecodeOf<kRestore, Format, Values>(job);
    return;
  }
  Kernel kernel(job);
  WalkRuns<L>(kernel, job.element_count, job.run_elements);
}

}  // namespace
}  // namespace quantd
