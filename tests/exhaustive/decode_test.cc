// Every code of every element: what it means, that it comes back, and what every target makes of it.
#include <gtest/gtest.h>

#include <bit>

#include "kernels/format/format_list.h"
#include "tests/exhaustive/encoders.h"

namespace quantd::testing {
namespace {

constexpr uint32_t kCanonicalNan = 0x7fffffff;

bool IsNan(uint32_t bits) { return (bits & 0x7fffffff) > 0x7f800000; }

template <class Format>
void ExpectDecodesToItsLevels() {
  const std::vector<uint32_t> levels = LevelsOf(Format::kElement);
  ASSERT_EQ(levels.size(), size_t{1} << Format::kBits);
  for (uint32_t code = 0; code < levels.size(); ++code) {
    ASSERT_EQ(std::bit_cast<uint32_t>(Format::Decode(code)), levels[code]) << Format::kName << " code " << code;
  }
}

// NaNs come back as the canonical one, fp4_bnb's -0 as +0, and without ieee_overflow an infinity as the largest code.
template <class Format>
void ExpectComesBack() {
  for (uint32_t code = 0; code < 1u << Format::kBits; ++code) {
    const float level = Format::Decode(code);
    if (level != level || (Format::kElement == Element::kFp4Bnb && code == 8)) continue;
    if constexpr (Format::kKind == ElementKind::kMiniFloat && Format::kHasNan) {
      EXPECT_EQ(Format::EncodeIeee(level), code) << Format::kName;
      if (level - level != 0) continue;
    }
    EXPECT_EQ(Format::Encode(level), code) << Format::kName;
  }
}

template <class... Formats>
void ExpectAllDecode(FormatList<Formats...>) {
  (ExpectDecodesToItsLevels<Formats>(), ...);
}
template <class... Formats>
void ExpectAllComeBack(FormatList<Formats...>) {
  (ExpectComesBack<Formats>(), ...);
}

TEST(EveryCode, MeansItsLevel) { ExpectAllDecode(AllFormats{}); }
TEST(EveryCode, ComesBackFromItsLevel) { ExpectAllComeBack(AllFormats{}); }

TEST(EveryCode, OfTheSmallFloatsIsAsTheirPapersPrintIt) {
  const float e2m1[] = {0, .5, 1, 1.5, 2, 3, 4, 6};
  const float e3m0[] = {0, .25, .5, 1, 2, 4, 8, 16};
  for (uint32_t code = 0; code < 8; ++code) {
    EXPECT_EQ(LevelsOf(Element::kFp4E2m1)[code], std::bit_cast<uint32_t>(e2m1[code]));
    EXPECT_EQ(LevelsOf(Element::kFp4E3m0)[code], std::bit_cast<uint32_t>(e3m0[code]));
  }
  EXPECT_EQ(LevelsOf(Element::kFp8E4m3)[0x7e], std::bit_cast<uint32_t>(448.0f));
  EXPECT_EQ(LevelsOf(Element::kFp8E4m3)[1], std::bit_cast<uint32_t>(0x1p-9f));
  EXPECT_EQ(LevelsOf(Element::kFp8E5m2)[0x7b], std::bit_cast<uint32_t>(57344.0f));
  EXPECT_EQ(LevelsOf(Element::kFp8E5m2)[1], std::bit_cast<uint32_t>(0x1p-16f));
}

class DecodersOf : public ::testing::TestWithParam<const KernelTable*> {
 protected:
  // Every code in rising order, then in falling order, and one more: an odd number, and every code in two places.
  static std::vector<uint16_t> AllCodes(int bits) {
    std::vector<uint16_t> codes;
    for (uint32_t code = 0; code < 1u << bits; ++code) codes.push_back(static_cast<uint16_t>(code));
    codes.insert(codes.end(), codes.rbegin(), codes.rend());
    codes.push_back(1);
    return codes;
  }

  template <class T>
  void ExpectDecodes(Element element, Restore restore, DataType dtype, const float* scale,
                     const std::vector<uint32_t>& expected_of_code) {
    const auto decode =
        GetParam()->decode[static_cast<size_t>(restore)][static_cast<size_t>(element)][FloatTypeIndex(dtype)];
    ASSERT_NE(decode, nullptr);
    const std::vector<uint16_t> codes = AllCodes(InfoOf(element).bits);
    std::vector<std::byte> packed;
    Pack({element, {}, {}, {{0, 0}}}, codes, packed);
    std::vector<T> values(codes.size());
    decode({.codes = packed.data(),
            .element_count = codes.size(),
            .run_elements = codes.size(),
            .scales = scale,
            .zeros = nullptr,
            .code_xor = 0,
            .values = reinterpret_cast<std::byte*>(values.data())});
    for (size_t i = 0; i < codes.size(); ++i) {
      ASSERT_EQ(values[i], expected_of_code[codes[i]])
          << InfoOf(element).name << " to " << InfoOf(dtype).name << ", code " << codes[i] << " at " << i;
    }
  }

  void ExpectDecodesToAllTypes(Element element, Restore restore, const float* scale,
                               const std::vector<uint32_t>& expected) {
    ExpectDecodes<uint32_t>(element, restore, DataType::kFloat32, scale, expected);
    for (const auto& [dtype, type] :
         {std::pair{DataType::kFloat16, Element::kFloat16}, std::pair{DataType::kBFloat16, Element::kBFloat16}}) {
      const Staircase rounded = StaircaseOf(type);
      std::vector<uint32_t> narrow;
      for (const uint32_t bits : expected) narrow.push_back(CodeOf(rounded, bits));
      ExpectDecodes<uint16_t>(element, restore, dtype, scale, narrow);
    }
  }
};

INSTANTIATE_TEST_SUITE_P(Targets, DecodersOf, ::testing::ValuesIn(SupportedKernels().begin(), SupportedKernels().end()),
                         [](const auto& info) { return std::string(info.param->target); });

TEST_P(DecodersOf, MakeEveryLevelWithoutAScale) {
  for (const FormatInfo& format : kFormats) {
    ExpectDecodesToAllTypes(format.element, Restore::kMultiply, nullptr, LevelsOf(format.element));
  }
}

TEST_P(DecodersOf, MakeEveryLevelWithAScaleOf1) {
  const float one = 1;
  for (const FormatInfo& format : kFormats) {
    std::vector<uint32_t> levels = LevelsOf(format.element);
    for (uint32_t& bits : levels) bits = IsNan(bits) ? kCanonicalNan : bits;
    ExpectDecodesToAllTypes(format.element, Restore::kMultiply, &one, levels);
    if (format.kind == ElementKind::kLevels)
      ExpectDecodesToAllTypes(format.element, Restore::kMultiplyFtz, &one, levels);
  }
}

TEST_P(DecodersOf, MakeEveryLlmInt8LevelWithAScaleOf127) {
  const float scale = 127;
  std::vector<uint32_t> expected;
  for (int code = 0; code < 256; ++code) {
    const double product = static_cast<double>(code < 128 ? code : code - 256) * 127;
    // The float32 nearest to the library's literal; the product of the two has at most 38 bits.
    expected.push_back(
        std::bit_cast<uint32_t>(static_cast<float>(product * static_cast<double>(7.874015718698502e-3f))));
  }
  ExpectDecodesToAllTypes(Element::kInt8, Restore::kLlmInt8, &scale, expected);
}

}  // namespace
}  // namespace quantd::testing
