// Every 16-bit pattern, and every float near a step, through every encoder of every target.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>

#include "kernels/format/format_list.h"
#include "tests/exhaustive/encoders.h"

namespace quantd::testing {
namespace {

// Both ends of every step and the two floats before and after them.
std::vector<uint32_t> FloatsNearSteps(const Staircase& stairs) {
  std::vector<uint32_t> floats;
  for (const Step& step : stairs) {
    for (uint32_t offset = 0; offset < 5; ++offset) floats.push_back(BitsAt(step.first - 2 + offset));
  }
  return floats;
}

template <class Format>
void ExpectCodecFollows(const std::vector<uint32_t>& floats) {
  const Staircase stairs = StaircaseOf(Format::kElement);
  const Staircase ieee_stairs = StaircaseOf(Format::kElement, {.ieee_overflow = true});
  for (const uint32_t bits : floats) {
    const auto value = std::bit_cast<float>(bits);
    ASSERT_EQ(Format::Encode(value), CodeOf(stairs, bits)) << Format::kName << " of bits " << std::hex << bits;
    if constexpr (requires { Format::EncodeIeee(value); } && Format::kHasNan) {
      ASSERT_EQ(Format::EncodeIeee(value), CodeOf(ieee_stairs, bits))
          << Format::kName << " of bits " << std::hex << bits;
    }
  }
}

template <class... Formats>
void ExpectCodecsFollowOnEvery16BitFloat(FormatList<Formats...>) {
  for (const Element type : {Element::kFloat16, Element::kBFloat16}) {
    (ExpectCodecFollows<Formats>(LevelsOf(type)), ...);
  }
}
template <class... Formats>
void ExpectCodecsFollowNearSteps(FormatList<Formats...>) {
  (ExpectCodecFollows<Formats>(FloatsNearSteps(StaircaseOf(Formats::kElement, {.ieee_overflow = true}))), ...);
}

TEST(EveryCodec, FollowsItsStaircaseOnEvery16BitFloat) { ExpectCodecsFollowOnEvery16BitFloat(AllFormats{}); }
TEST(EveryCodec, FollowsItsStaircaseNearEveryStep) { ExpectCodecsFollowNearSteps(AllFormats{}); }

class EncodersOf : public ::testing::TestWithParam<const KernelTable*> {
 protected:
  // From the first value on, and from places inside of a vector on.
  template <class T>
  void ExpectFollow(const Encoder& encoder, DataType dtype, const std::vector<T>& values,
                    const std::vector<uint32_t>& widened) {
    std::vector<uint16_t> expected_codes;
    for (const uint32_t bits : widened) expected_codes.push_back(static_cast<uint16_t>(CodeOf(encoder.stairs, bits)));
    std::vector<std::byte> actual;
    std::vector<std::byte> expected;
    for (const size_t begin : {0, 3, 17}) {
      Encode(*GetParam(), encoder, dtype, values.data() + begin, values.size() - begin, actual);
      Pack(encoder, std::span(expected_codes).subspan(begin), expected);
      const auto [at, _] = std::ranges::mismatch(actual, expected);
      const auto byte = at - actual.begin();
      ASSERT_TRUE(actual == expected)
          << encoder.name() << " " << InfoOf(dtype).name << ", from value " << begin << ": byte " << byte
          << " near bits " << std::hex
          << widened[begin + static_cast<size_t>(byte) * 8 / static_cast<size_t>(encoder.bits())];
    }
  }
};

INSTANTIATE_TEST_SUITE_P(Targets, EncodersOf, ::testing::ValuesIn(SupportedKernels().begin(), SupportedKernels().end()),
                         [](const auto& info) { return std::string(info.param->target); });

TEST_P(EncodersOf, FollowTheirStaircasesOnEvery16BitFloat) {
  std::vector<uint16_t> patterns(1 << 16);
  for (size_t i = 0; i < patterns.size(); ++i) patterns[i] = static_cast<uint16_t>(i);
  for (const Encoder& encoder : AllEncoders()) {
    ExpectFollow(encoder, DataType::kFloat16, patterns, LevelsOf(Element::kFloat16));
    ExpectFollow(encoder, DataType::kBFloat16, patterns, LevelsOf(Element::kBFloat16));
    if (HasFatalFailure()) return;
  }
}

TEST_P(EncodersOf, FollowTheirStaircasesNearEveryStep) {
  for (const Encoder& encoder : AllEncoders()) {
    const std::vector<uint32_t> floats = FloatsNearSteps(encoder.stairs);
    ExpectFollow(encoder, DataType::kFloat32, floats, floats);
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace quantd::testing
