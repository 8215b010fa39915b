// How codes become levels, a struct for each kind of element: a pair of registers at a time, in the order that the
// values' type is stored from (Lanes::kInterleaved).
#pragma once

#include "kernels/cpu/kernel_table.h"
#include "kernels/format/format_list.h"
#include "kernels/format/value_types.h"

namespace quantd {
namespace {

// What all have in common; each hides what it has its own of.
template <class L>
struct AnyLevels {
  static constexpr float kFactor = 1;  // the levels are too small by it; a power of two
  static bool CanDecode(const DecodeJob& job) { return job.code_xor == 0 && job.zeros == nullptr; }
  // Whether none of a step's codes is NaN or infinite.
  static bool Covers(const std::byte*) { return true; }
};

template <class L, class Format>
struct Levels;

// Nibbles: a table, made for the job because the stored codes may be XORed.
template <class L, class Format>
  requires(Format::kBits == 4)
struct Levels<L, Format> : AnyLevels<L> {
  using Float = typename L::Float;
  using Int = typename L::Int;
  static constexpr bool kIsInteger = Format::kKind == ElementKind::kInteger;
  static bool CanDecode(const DecodeJob& job) { return kIsInteger || AnyLevels<L>::CanDecode(job); }
  // Written out, because compilers build implicit constructors for the baseline target.
  explicit Levels(const DecodeJob& job) {
    for (uint32_t code = 0; code < 16; ++code) levels[code] = Format::Decode(code ^ job.code_xor);
    table = L::LoadTable16(levels);
  }
  template <bool kInterleaved>
  void Load(const std::byte* codes, Float& first, Float& second) const {
    Int first_codes, second_codes;
    L::template LoadNibblePair<Format::kFirstInHighNibble, kInterleaved>(codes, first_codes, second_codes);
    first = L::LookUp(table, first_codes);
    second = L::LookUp(table, second_codes);
  }
  alignas(64) float levels[16];
  typename L::Table16 table;
};

template <class L>
struct Levels<L, Int8> : AnyLevels<L> {
  using Float = typename L::Float;
  using Int = typename L::Int;
  static bool CanDecode(const DecodeJob& job) { return job.code_xor < 256; }
  explicit Levels(const DecodeJob& job)
      : code_xor(L::Splat(static_cast<uint32_t>(static_cast<int8_t>(job.code_xor)))) {}
  template <bool kInterleaved>
  void Load(const std::byte* codes, Float& first, Float& second) const {
    Int first_codes, second_codes;
    L::template LoadSignedBytePair<kInterleaved>(codes, first_codes, second_codes);
    first = L::ToFloat(L::Xor(first_codes, code_xor));
    second = L::ToFloat(L::Xor(second_codes, code_xor));
  }
  Int code_xor;
};

// Of other widths: widened to bytes first (Decoder::Step).
template <class L, class Format>
  requires(Format::kKind == ElementKind::kInteger && Format::kBits != 4 && Format::kBits != 8)
struct Levels<L, Format> : Levels<L, Int8> {
  static bool CanDecode(const DecodeJob& job) { return job.code_xor < (1u << Format::kBits); }
  explicit Levels(const DecodeJob&) : Levels<L, Int8>(DecodeJob{}) {}
};

// As float16 of the same bits but for the width of the exponent and the mantissa, which is exact, subnormals too.
template <class L, class Format>
  requires(Format::kKind == ElementKind::kMiniFloat && Format::kBits == 8)
struct Levels<L, Format> : AnyLevels<L> {
  static constexpr float kFactor = Format::kBias == 15 ? 1.0f : 256.0f;
  explicit Levels(const DecodeJob&) {}
  static bool Covers(const std::byte* codes) {
    const auto magnitudes = L::And(L::LoadInts(codes), L::SplatBytes(0x7f));
    return !L::AnyGreaterBytes(magnitudes, L::SplatBytes(Format::kLargestCode));
  }
  template <bool kInterleaved>
  static void Load(const std::byte* codes, typename L::Float& first, typename L::Float& second) {
    L::template LoadFloat8Pair<kInterleaved, 10 - Format::kMantissaBits>(codes, first, second);
  }
};

template <class L>
struct Levels<L, Dynamic8> : AnyLevels<L> {
  explicit Levels(const DecodeJob&) : table(L::MakeMirrorTable(kDynamic8LevelBits)) {}
  template <bool kInterleaved>
  void Load(const std::byte* codes, typename L::Float& first, typename L::Float& second) const {
    typename L::Int first_bits, second_bits;
    L::template LookUpMirrored<kInterleaved>(table, codes, first_bits, second_bits);
    first = L::AsFloat(first_bits);
    second = L::AsFloat(second_bits);
  }
  typename L::MirrorTable table;
};

template <class L, class Format>
  requires(Format::kKind == ElementKind::kCast)
struct Levels<L, Format> : AnyLevels<L> {
  using CodeValues = std::conditional_t<std::is_same_v<Format, BFloat16>, BFloat16Values, Float16Values>;
  explicit Levels(const DecodeJob&) {}
  template <bool kInterleaved>
  static void Load(const std::byte* codes, typename L::Float& first, typename L::Float& second) {
    if constexpr (kInterleaved == L::template kInterleaved<CodeValues>) {
      L::template LoadPair<CodeValues>(codes, first, second);
    } else {
      static_assert(std::is_same_v<Format, BFloat16>);
      first = L::AsFloat(L::template ShiftLeft<16>(L::LoadWords(codes)));
      second = L::AsFloat(L::template ShiftLeft<16>(L::LoadWords(codes + 2 * L::kLanes)));
    }
  }
};

// Codes of a width that is none of a byte's parts: eight of them are kBits bytes. As signed bytes.
template <class L, class Format>
inline typename L::Int UnpackSigned(const std::byte* codes, uint32_t code_xor) {
  constexpr uint64_t kOnes = 0x0101010101010101u;
  constexpr uint8_t kSign = 1u << (Format::kBits - 1);
  constexpr size_t kBytes = L::kStep / 8 * Format::kBits;
  uint64_t eights[L::kStep / 8];
  for (size_t i = 0; i < L::kStep / 8; ++i) {
    // Whole words, none of which reaches beyond the step.
    const size_t first = std::min<size_t>(i * Format::kBits, kBytes - 8);
    const uint64_t packed = LoadUnaligned<uint64_t>(codes + first) >> (i * Format::kBits - first) * 8;
    eights[i] = _pdep_u64(packed, kOnes * ((1u << Format::kBits) - 1)) ^ kOnes * (code_xor ^ kSign);
  }
  return L::SubtractBytes(L::FromEights(eights), L::SplatBytes(kSign));
}

}  // namespace
}  // namespace quantd
