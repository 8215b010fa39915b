// Ranges of runs. Short runs are reduced together, a register's lanes full of runs, so that none is reduced alone.
#pragma once

#include "kernels/cpu/portable_kernels-inl.h"

namespace quantd {
namespace {

template <class L, class Values>
class AbsmaxFinder {
  using Int = typename L::Int;
  static constexpr size_t kValueBytes = sizeof(typename Values::Bits);
  static constexpr size_t kPerRegister = L::kLanes * 4 / kValueBytes;

 public:
  explicit AbsmaxFinder(const RunsJob& job) : job_(job) {}

  void Find(float* absmax) const {
    const uint64_t run_elements = job_.run_elements;
    uint64_t begin = 0;
    if (run_elements % kPerRegister == 0 && run_elements <= 16 * kPerRegister) {
      for (; begin + kLanes * run_elements <= job_.element_count; begin += kLanes * run_elements) {
        Store(Together<kLanes>(begin, run_elements), absmax);
        absmax += kLanes;
      }
    } else if (kValueBytes == 2 && run_elements == kPerRegister / 2) {
      for (; begin + kLanes * run_elements <= job_.element_count; begin += kLanes * run_elements) {
        Store(L::JoinHalfRuns(Together<kLanes / 2>(begin, kPerRegister)), absmax);
        absmax += kLanes;
      }
    }
    for (; begin < job_.element_count; begin += run_elements) {
      *absmax++ = One(begin, std::min(run_elements, job_.element_count - begin));
    }
  }

 private:
  static constexpr size_t kLanes = kPerRegister;  // of a value's width

  // The magnitude bits of `kParts` parts of `part_elements`, whole registers, from element `begin` on, each in its
  // lane; as long as there are fewer parts than lanes, in as many lanes as are a part's share.
  template <size_t kParts>
  [[gnu::always_inline]] Int Together(uint64_t begin, uint64_t part_elements) const {
    if constexpr (kParts == 1) {
      return Magnitudes(begin, part_elements);
    } else {
      const Int first = Together<kParts / 2>(begin, part_elements);
      const Int second = Together<kParts / 2>(begin + kParts / 2 * part_elements, part_elements);
      if constexpr (kValueBytes == 4) return L::template Combine<kParts>(first, second);
      return L::template CombineWords<kParts>(first, second);
    }
  }

  // A lane's magnitude after another.
  static void Store(Int magnitudes, float* absmax) {
    if constexpr (kValueBytes == 4) {
      L::StoreInts(absmax, magnitudes);
    } else {
      L::StoreFloats(absmax, Widened(L::LowWords(magnitudes)));
      L::StoreFloats(absmax + L::kLanes, Widened(L::HighWords(magnitudes)));
    }
  }

  // Of whole registers; 16-bit magnitudes in lanes of 16 bits.
  [[gnu::always_inline]] Int Magnitudes(uint64_t begin, uint64_t count) const {
    Int largest = L::Splat(0u);
    for (uint64_t i = begin; i < begin + count; i += kPerRegister) largest = Larger(largest, MagnitudesAt(i));
    return largest;
  }
  Int MagnitudesAt(uint64_t index) const {
    constexpr uint32_t kMask = kValueBytes == 4 ? 0x7fffffffu : 0x7fff7fffu;
    return L::And(L::LoadInts(job_.values + index * kValueBytes), L::Splat(kMask));
  }
  static Int Larger(Int a, Int b) {
    if constexpr (kValueBytes == 4) return L::Max(a, b);
    return L::MaxWords(a, b);
  }
  // The larger of a lane's two words, as the lane's 32 bits.
  static Int LowerWords(Int magnitudes) {
    if constexpr (kValueBytes == 4) return magnitudes;
    return L::And(L::MaxWords(magnitudes, L::template ShiftRight<16>(magnitudes)), L::Splat(0xffffu));
  }

  // As Values::Widen, of magnitudes in 32-bit lanes.
  static typename L::Float Widened(Int magnitudes) {
    if constexpr (std::is_same_v<Values, Float32Values>) {
      return L::AsFloat(magnitudes);
    } else if constexpr (std::is_same_v<Values, BFloat16Values>) {
      return L::AsFloat(L::template ShiftLeft<16>(magnitudes));
    } else {
      // No instruction for it, because that would make every NaN a quiet one.
      const Int scaled = L::Bits(L::Multiply(L::AsFloat(L::template ShiftLeft<13>(magnitudes)), L::Splat(0x1p112f)));
      return L::AsFloat(L::OrWhere(L::Greater(magnitudes, L::Splat(0x7bffu)), scaled, L::Splat(0x7f800000u)));
    }
  }

  // A run of any length. Its last register overlaps the one before, which changes no maximum.
  float One(uint64_t begin, uint64_t count) const {
    if (count < kPerRegister) {
      float absmax;
      PortableAbsmax<Values>({job_.values + begin * kValueBytes, count, count}, &absmax);
      return absmax;
    }
    Int largest[4] = {L::Splat(0u), L::Splat(0u), L::Splat(0u), L::Splat(0u)};
    uint64_t i = 0;
    for (; i + 4 * kPerRegister <= count; i += 4 * kPerRegister) {
      for (size_t k = 0; k < 4; ++k) largest[k] = Larger(largest[k], MagnitudesAt(begin + i + k * kPerRegister));
    }
    for (; i + kPerRegister <= count; i += kPerRegister) largest[0] = Larger(largest[0], MagnitudesAt(begin + i));
    largest[1] = Larger(largest[1], MagnitudesAt(begin + count - kPerRegister));
    alignas(64) int32_t lanes[L::kLanes];
    L::StoreInts(lanes, LowerWords(Larger(Larger(largest[0], largest[1]), Larger(largest[2], largest[3]))));
    int32_t bits = 0;
    for (const int32_t lane : lanes) bits = std::max(bits, lane);
    return Values::Widen(static_cast<typename Values::Bits>(bits));
  }

  const RunsJob& job_;
};

template <class L, class Values>
void SimdAbsmax(const RunsJob& job, float* absmax) {
  AbsmaxFinder<L, Values>(job).Find(absmax);
}

template <class L>
inline float LowestLane(typename L::Float values) {
  alignas(64) float lanes[L::kLanes];
  L::StoreFloats(lanes, values);
  float lowest = 0;
  for (const float lane : lanes) lowest = lane < lowest ? lane : lowest;
  return lowest;
}
template <class L>
inline float HighestLane(typename L::Float values) {
  alignas(64) float lanes[L::kLanes];
  L::StoreFloats(lanes, values);
  float highest = 0;
  for (const float lane : lanes) highest = lane > highest ? lane : highest;
  return highest;
}

template <class L, class Values>
void SimdRange(const RunsJob& job, float* lowest, float* highest) {
  constexpr size_t kValueBytes = sizeof(typename Values::Bits);
  constexpr size_t kPair = 2 * L::kLanes;
  for (uint64_t begin = 0; begin < job.element_count; begin += job.run_elements) {
    const uint64_t count = std::min(job.run_elements, job.element_count - begin);
    const std::byte* const values = job.values + begin * kValueBytes;
    if (count < kPair) {
      PortableRange<Values>({values, count, count}, lowest++, highest++);
      continue;
    }
    // The second operand stays where the first is NaN or equal, so that no zero gets a sign.
    auto low_first = L::Splat(0.0f);
    auto low_second = low_first;
    auto high_first = low_first;
    auto high_second = low_first;
    for (uint64_t i = 0; i < count; i += kPair) {
      // The last pair overlaps the one before.
      typename L::Float first, second;
      L::template LoadPair<Values>(values + std::min(i, count - kPair) * kValueBytes, first, second);
      low_first = L::Min(first, low_first);
      low_second = L::Min(second, low_second);
      high_first = L::Max(first, high_first);
      high_second = L::Max(second, high_second);
    }
    *lowest++ = LowestLane<L>(L::Min(low_first, low_second));
    *highest++ = HighestLane<L>(L::Max(high_first, high_second));
  }
}

}  // namespace
}  // namespace quantd
