#include "kernels/cpu/word_bins.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "kernels/format/fp4_bnb.h"
#include "kernels/format/nf4.h"
#include "kernels/format/thresholds.h"

namespace quantd {
namespace {

constexpr WordBins kNf4Bins = MakeWordBins<false>(32229.25, kNf4Thresholds);
constexpr WordBins kFp4Bins = MakeWordBins<true>(32504, kFp4BnbThresholds);

// As kernels/cpu/simd_word_codecs-inl.h does it. None: the word leaves it open.
std::optional<uint32_t> RankByWord(const WordBins& bins, float scaled) {
  // What a conversion to int32 gives if there is no such integer.
  const double integer = std::fabs(scaled) < 0x1p31f ? std::floor(double{scaled}) : -0x1p31;
  const auto word = static_cast<uint16_t>(static_cast<int>(std::clamp(integer, -32768.0, 32767.0)));
  const auto sum = static_cast<uint16_t>(word + bins.entry[word >> kWordCellBits]);
  if (sum % kWordCell == 0) return std::nullopt;
  return sum >> kWordCellBits;
}

uint32_t Fp4Rank(float value) {
  const uint32_t magnitude = CountBelow(kFp4BnbThresholds, std::fabs(value));
  return value < 0 ? 7 - magnitude : 8 + magnitude;
}

// Scaled with the errors of up to three roundings.
void ExpectRankOrOpen(float value) {
  for (const float error : {1 - 0x3p-24f, 1.0f, 1 + 0x3p-23f}) {
    const auto nf4 = RankByWord(kNf4Bins, value * kNf4Bins.scale * error);
    ASSERT_EQ(nf4.value_or(CountBelow(kNf4Thresholds, value)), CountBelow(kNf4Thresholds, value))
        << std::hexfloat << value;
    const auto fp4 = RankByWord(kFp4Bins, value * kFp4Bins.scale * error);
    ASSERT_EQ(fp4.value_or(Fp4Rank(value)), Fp4Rank(value)) << std::hexfloat << value;
  }
}

TEST(WordBins, RankAroundEveryThresholdOrLeaveItOpen) {
  for (const float sign : {-1.0f, 1.0f}) {
    for (const float threshold : kNf4Thresholds) {
      for (int step = -3000; step <= 3000; ++step)
        ExpectRankOrOpen(sign * threshold + static_cast<float>(step) * 0x1p-24f);
    }
    for (const float threshold : kFp4BnbThresholds) {
      for (int step = -3000; step <= 3000; ++step)
        ExpectRankOrOpen(sign * threshold + static_cast<float>(step) * 0x1p-24f);
    }
  }
}

TEST(WordBins, RankAlongTheWholeIntervalOrLeaveItOpen) {
  for (float value = -1.01f; value <= 1.01f; value += 0x1p-20f) ExpectRankOrOpen(value);
}

TEST(WordBins, LeaveLittleOpen) {
  int open = 0;
  int count = 0;
  for (float value = -1.0f; value <= 1.0f; value += 0x1p-20f, ++count) {
    open += !RankByWord(kNf4Bins, value * kNf4Bins.scale).has_value();
  }
  EXPECT_LT(open, count / 1000);
  for (const float end : {-1.0f, 0.0f, 1.0f}) {
    EXPECT_TRUE(RankByWord(kNf4Bins, end * kNf4Bins.scale).has_value()) << end;
    EXPECT_TRUE(RankByWord(kFp4Bins, end * kFp4Bins.scale).has_value()) << end;
  }
}

TEST(WordBins, LeaveOpenWhatIsNoIntegerOrTooLarge) {
  for (const float scaled : {std::nanf(""), INFINITY, -INFINITY, 0x1p31f, -0x1p20f, -32768.0f}) {
    EXPECT_EQ(RankByWord(kNf4Bins, scaled), std::nullopt) << scaled;
    EXPECT_EQ(RankByWord(kFp4Bins, scaled), std::nullopt) << scaled;
  }
}

}  // namespace
}  // namespace quantd
