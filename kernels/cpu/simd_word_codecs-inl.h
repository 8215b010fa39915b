// Codes of 4 bits by 16-bit words, twice as many to a register as there are values: WordBins.
#pragma once

#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/word_bins.h"
#include "kernels/format/format_list.h"

namespace quantd {
namespace {

// What words are made with: kBins, and kRankCodes where ranks are not codes. There the codes on both sides of 0 differ.
template <class Format>
struct WordFormat {
  static constexpr bool kDefined = false;
};

template <>
struct WordFormat<Nf4> {
  static constexpr bool kDefined = true;
  static constexpr bool kSigned = false;
  static constexpr WordBins kBins = MakeWordBins<kSigned>(32229.25, kNf4Thresholds);
  static constexpr uint8_t kRankCodes[16] = {};
};

template <>
struct WordFormat<Fp4Bnb> {
  static constexpr bool kDefined = true;
  static constexpr bool kSigned = true;
  static constexpr WordBins kBins = MakeWordBins<kSigned>(32504, kFp4BnbThresholds);
  static constexpr uint8_t kRankCodes[16] = {11, 10, 13, 12, 15, 14, 9, 8, 0, 1, 6, 7, 4, 5, 2, 3};
};

inline constexpr float kFp4E2m1Thresholds[7] = {0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5.0f};
template <>
struct WordFormat<Fp4E2m1> {
  static constexpr bool kDefined = true;
  static constexpr bool kSigned = true;
  static constexpr WordBins kBins = MakeWordBins<kSigned>(5029.875, kFp4E2m1Thresholds);
  static constexpr uint8_t kRankCodes[16] = {15, 14, 13, 12, 11, 10, 9, 8, 0, 1, 2, 3, 4, 5, 6, 7};
};

// Where words decide most codes: ties must be rare, which they are not where the factor is a power of two, and a
// negative value whose product or quotient is 0 must have the code of 0.
template <class L, Transform kTransform, class Format, bool kUnsignedZero>
inline constexpr bool kHasWordCodec =
    L::kHasWordTables && WordFormat<Format>::kDefined &&
    (kTransform == Transform::kMultiplyFtz || (kTransform == Transform::kDivide && kUnsignedZero) ||
     (kTransform == Transform::kDivide && std::is_same_v<Format, Nf4>));

template <class L, class Format>
class WordCodec {
  using Int = typename L::Int;

 public:
  // Written out, because compilers build implicit constructors for the baseline target.
  WordCodec()
      : entries_(L::LoadInts(WordFormat<Format>::kBins.entry.data())),
        codes_(L::LoadByteTable(WordFormat<Format>::kRankCodes)) {}

  // The codes of words, which are values times kBins.scale, rounded down and saturated, as bytes. False if a word
  // leaves one open.
  bool Encode(Int low, Int high, Int& bytes) const {
    if constexpr (WordFormat<Format>::kSigned) {
      // What is so little below 0 may count as 0.
      const Int minus_one = L::SplatWords(0xffff);
      if (L::AnyEqualWords(low, high, minus_one)) return false;
    }
    const Int low_ranks = L::AddWords(low, L::LookUpWords(entries_, L::template ShiftRightWords<kWordCellBits>(low)));
    const Int high_ranks =
        L::AddWords(high, L::LookUpWords(entries_, L::template ShiftRightWords<kWordCellBits>(high)));
    const Int below_rank = L::SplatWords(kWordCell - 1);
    if (L::AnyWordWithout(low_ranks, high_ranks, below_rank)) return false;
    bytes = L::PackUnsignedBytes(L::template ShiftRightWords<kWordCellBits>(low_ranks),
                                 L::template ShiftRightWords<kWordCellBits>(high_ranks));
    if constexpr (WordFormat<Format>::kSigned) bytes = L::ShuffleBytes(codes_, bytes);
    return true;
  }

 private:
  Int entries_;
  Int codes_;
};

struct NoWordCodec {};

}  // namespace
}  // namespace quantd
