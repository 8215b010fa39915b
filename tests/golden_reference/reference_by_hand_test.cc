// Where no library has spoken: the reference against results that were worked out by hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "tests/support/reference_elements.h"
#include "tests/support/reference_presets.h"
#include "tests/support/reference_quantizer.h"
#include "tests/support/reference_scheme.h"
#include "tests/support/reference_values.h"

namespace quantd::testing {
namespace {

using ::testing::ElementsAre;
using Overrides = std::map<std::string, std::string>;
using Segments = std::map<std::string, Bytes>;

constexpr float kInf = std::numeric_limits<float>::infinity();

Segments Quantize(const std::string& preset, const Overrides& overrides, const std::vector<uint64_t>& shape,
                  const std::vector<float>& values, const ReferenceStatistics& known = {}) {
  return ReferenceQuantize(ReferencePreset(preset, overrides), DataType::kFloat32, shape,
                           WriteFloats(DataType::kFloat32, values), known);
}

std::vector<float> Dequantize(const std::string& preset, const Overrides& overrides, const std::vector<uint64_t>& shape,
                              const Segments& segments) {
  return ReadFloats(DataType::kFloat32,
                    ReferenceDequantize(ReferencePreset(preset, overrides), DataType::kFloat32, shape, segments));
}

std::vector<int> Numbers(const Bytes& bytes) {
  std::vector<int> numbers;
  for (const std::byte byte : bytes) numbers.push_back(std::to_integer<int>(byte));
  return numbers;
}

std::vector<float> Floats(const Bytes& bytes) { return ReadFloats(DataType::kFloat32, bytes); }

std::vector<int> Codes(const std::string& element, const std::vector<float>& values) {
  std::vector<int> codes;
  for (const float value : values) codes.push_back(static_cast<int>(EncodeElement(element, value, true)));
  return codes;
}

TEST(ReferenceElement, E3m0RoundsTiesToTheEvenCodeAndSaturates) {
  EXPECT_THAT(Codes("fp4_e3m0", {0.125f, 0.375f, 0.75f, 1.5f, 3, 6, 12, 12.1f, 1e9f, -0.0f, -2}),
              ElementsAre(0, 2, 2, 4, 4, 6, 6, 7, 7, 8, 12));
}

TEST(ReferenceElement, E2m1RoundsTiesToTheEvenCodeAndSaturates) {
  EXPECT_THAT(Codes("fp4_e2m1", {0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5, 5.1f, 1e9f, -0.0f, -6}),
              ElementsAre(0, 2, 2, 4, 4, 6, 6, 7, 7, 8, 15));
}

TEST(ReferenceStrict, IntegersStartANewByteInEveryRow) {
  const Segments segments = Quantize("int8", {{"element", "int3"}}, {2, 3}, {3, -3, 1, 0, 0, 0});
  EXPECT_THAT(Numbers(segments.at("codes")), ElementsAre(0b01'101'011, 0, 0, 0));
  EXPECT_THAT(Floats(segments.at("scales")), ElementsAre(1, 1));
}

TEST(ReferenceStrict, IntegersOfAFlatTensorAreOneStream) {
  const Segments segments =
      Quantize("int8", {{"element", "int3"}, {"grouping", "tensor"}}, {2, 3}, {3, -3, 1, 2, 0, 0});
  EXPECT_THAT(Numbers(segments.at("codes")), ElementsAre(0b01'101'011, 0b0'000'010'0, 0));
}

TEST(ReferenceStrict, AsymmetricUsesTheWholeRange) {
  const Segments segments =
      Quantize("int8-asym", {{"element", "int4"}}, {3, 4}, {15, 1, 0, 14, -5, -20, 10, 0, 0, 0, 0, 0});
  EXPECT_THAT(Floats(segments.at("scales")), ElementsAre(1, 2, 1));
  EXPECT_THAT(Numbers(segments.at("zero_points")), ElementsAre(0xf8, 2, 0));
  EXPECT_THAT(Numbers(segments.at("codes")), ElementsAre(0x97, 0x68, 0x80, 0x27, 0x00, 0x00));
  EXPECT_THAT(Dequantize("int8-asym", {{"element", "int4"}}, {3, 4}, segments),
              ElementsAre(15, 1, 0, 14, -4, -20, 10, 0, 0, 0, 0, 0));
}

TEST(ReferenceStrict, ScaleBeyondItsTypeIsTheLargestAndBelowItOne) {
  const Segments segments = Quantize("int8", {{"scale_dtype", "float16"}}, {2, 2}, {1e38f, 65504, 1e-30f, 1});
  const Segments tiny = Quantize("int8", {{"scale_dtype", "float16"}}, {1, 1}, {1e-30f});
  EXPECT_EQ(ReadFloats(DataType::kFloat16, segments.at("scales")).front(), 65504);
  EXPECT_THAT(Numbers(segments.at("codes")), ElementsAre(127, 1, 0, 127));
  EXPECT_THAT(ReadFloats(DataType::kFloat16, tiny.at("scales")), ElementsAre(1));
  EXPECT_THAT(Numbers(tiny.at("codes")), ElementsAre(0));
}

TEST(ReferenceStrict, TilesAtTheEdgesAreSmaller) {
  const Segments segments = Quantize("int8", {{"grouping", "tile"}, {"tile_rows", "2"}, {"tile_cols", "2"}}, {3, 3},
                                     {127, 1, 254, 0, 0, 0, -381, 0, 508});
  EXPECT_THAT(Floats(segments.at("scales")), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(Numbers(segments.at("codes")), ElementsAre(127, 1, 127, 0, 0, 0, 0x81, 0, 127));
}

TEST(ReferenceStrict, LevelsKeepAbsmaxForAScale) {
  const Overrides tensor = {{"grouping", "tensor"}};
  EXPECT_THAT(Floats(Quantize("nf4", tensor, {3}, {2, -2, 0}).at("scales")), ElementsAre(2));
  EXPECT_THAT(Numbers(Quantize("nf4", tensor, {3}, {2, -2, 0}).at("codes")), ElementsAre(0xf0, 0x77));
  EXPECT_THAT(Numbers(Quantize("nf4", {{"grouping", "channel"}}, {2, 1}, {2, -2}).at("codes")),
              ElementsAre(0xf7, 0x07));
}

TEST(ReferenceStrict, OfBlocksOfNf4IsTheReferenceThatWasThereBefore) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> values(197);
  std::ranges::generate(values, [&] { return normal(random); });
  const ReferenceBlocks blocks = ReferenceQuantize4Bit("nf4", ReferenceRules::kStrict, 32, values);
  const Segments segments = Quantize("nf4", {{"block_size", "32"}}, {197}, values);
  EXPECT_EQ(Numbers(segments.at("codes")), std::vector<int>(blocks.codes.begin(), blocks.codes.end()));
  EXPECT_EQ(Floats(segments.at("scales")), blocks.absmax);
}

TEST(ReferenceStrict, Fp8CastKeepsNanAndOverflowsWhereAsked) {
  const Overrides ieee = {{"scale_dtype", "none"}, {"overflow", "ieee"}, {"nonfinite", "library"}};
  const Overrides saturate = {{"scale_dtype", "none"}, {"nonfinite", "library"}};
  const std::vector<float> values = {464, 465, -kInf, -std::nanf(""), 57344, 61440};
  EXPECT_THAT(Numbers(Quantize("fp8-e4m3", ieee, {6}, values).at("codes")),
              ElementsAre(0x7e, 0x7f, 0xff, 0xff, 0x7f, 0x7f));
  EXPECT_THAT(Numbers(Quantize("fp8-e4m3", saturate, {6}, values).at("codes")),
              ElementsAre(0x7e, 0x7e, 0xfe, 0xff, 0x7e, 0x7e));
  EXPECT_THAT(Numbers(Quantize("fp8-e5m2", ieee, {6}, values).at("codes")),
              ElementsAre(0x5f, 0x5f, 0xfc, 0xff, 0x7b, 0x7c));
}

TEST(ReferenceStrict, AbsmaxIsOfTheFiniteValues) {
  const Segments segments = Quantize("fp8-e4m3", {{"nonfinite", "library"}}, {3}, {kInf, std::nanf(""), -896});
  EXPECT_THAT(Floats(segments.at("scales")), ElementsAre(2));
  EXPECT_THAT(Numbers(segments.at("codes")), ElementsAre(0x7e, 0x7f, 0xfe));
}

TEST(ReferenceStrict, CastsOverflowToInfinityAndHaveOneNan) {
  const std::vector<float> values = {65519, 65520, -std::nanf("")};
  EXPECT_THAT(Numbers(Quantize("fp16", {{"nonfinite", "library"}}, {3}, values).at("codes")),
              ElementsAre(0xff, 0x7b, 0x00, 0x7c, 0xff, 0x7f));
  EXPECT_THAT(Numbers(Quantize("bf16", {{"nonfinite", "library"}}, {3}, {3.4e38f, 1, -std::nanf("")}).at("codes")),
              ElementsAre(0x80, 0x7f, 0x80, 0x3f, 0xff, 0x7f));
}

TEST(ReferenceStrict, WhatTheCallerKnowsGoesFirst) {
  const Segments symmetric = Quantize("int8", {{"grouping", "tensor"}}, {2}, {300, -1}, {.amax = 127});
  EXPECT_THAT(Floats(symmetric.at("scales")), ElementsAre(1));
  EXPECT_THAT(Numbers(symmetric.at("codes")), ElementsAre(127, 255));
  const Segments asymmetric = Quantize("int8-asym", {{"grouping", "tensor"}}, {2}, {300, -1}, {.min = -55, .max = 200});
  EXPECT_THAT(Floats(asymmetric.at("scales")), ElementsAre(1));
  EXPECT_THAT(Numbers(asymmetric.at("zero_points")), ElementsAre(0xb7));
  EXPECT_THAT(Numbers(asymmetric.at("codes")), ElementsAre(127, 0xb6));
}

TEST(ReferenceNestedScales, E4m3KeepsTheDifferencesFromTheMean) {
  const Overrides nested = {{"double_quant", "true"}, {"nested_code", "e4m3"}, {"block_size", "32"}};
  std::vector<float> values(64);
  values[0] = 1 + 448;
  values[32] = 897 + 448;
  const Segments segments = Quantize("nf4", nested, {64}, values);
  EXPECT_THAT(Floats(segments.at("offset")), ElementsAre(897));
  EXPECT_THAT(Floats(segments.at("nested_scales")), ElementsAre(1));
  EXPECT_THAT(Numbers(segments.at("scales")), ElementsAre(0xfe, 0x7e));
  EXPECT_EQ(Dequantize("nf4", nested, {64}, segments), values);
}

// The first of the group's values is its amax.
int CtMxfp4Float16Byte(float amax) {
  std::vector<float> values(32, 0.0f);
  values[0] = amax;
  const Segments segments = ReferenceQuantize(ReferencePreset("ct-mxfp4"), DataType::kFloat16, {1, 32},
                                              WriteFloats(DataType::kFloat16, values));
  return Numbers(segments.at("scales")).front();
}

TEST(ReferenceCompressedTensors, Float16SubnormalsThatDoNotRoundUpHaveScaleOne) {
  EXPECT_EQ(CtMxfp4Float16Byte(0x1p-14f), 127 - 14 - 2);
  EXPECT_EQ(CtMxfp4Float16Byte(0x1.8p-15f), 127 - 14 - 2);
  EXPECT_EQ(CtMxfp4Float16Byte(0x1.7fp-15f), 127);
  EXPECT_EQ(CtMxfp4Float16Byte(65504), 127 + 16 - 2);
}

TEST(ReferenceTorchao, NanMarksTheBlockAndInfinityIsAValue) {
  const Overrides library = {{"nonfinite", "library"}};
  const Overrides rceil = {{"nonfinite", "library"}, {"scale_rule", "rceil"}};
  std::vector<float> values(64, 1.0f);
  values[0] = -std::nanf("");
  values[32] = kInf;
  const Segments floor = Quantize("mxfp8-e4m3", library, {2, 32}, values);
  EXPECT_THAT(Numbers(floor.at("scales")), ElementsAre(255, 255 - 8));
  EXPECT_EQ(Numbers(floor.at("codes"))[0], 0xff);
  EXPECT_EQ(Numbers(floor.at("codes"))[1], 0);
  EXPECT_EQ(Numbers(floor.at("codes"))[32], 0x7e);
  const Segments every = Quantize("mxfp8-e4m3", rceil, {2, 32}, values);
  EXPECT_THAT(Numbers(every.at("scales")), ElementsAre(255, 254));
  EXPECT_EQ(Numbers(every.at("codes"))[1], 0x7f);
  EXPECT_EQ(Numbers(every.at("codes"))[32], 0x7e);
}

// d = 448 * 2^100 * (1 + 2^-23) / 448: its logarithm is 100 in float32.
TEST(ReferenceTorchao, RceilTakesTheLogarithmInFloat32) {
  std::vector<float> values(32, std::nextafter(448 * 0x1p100f, kInf));
  EXPECT_THAT(Numbers(Quantize("mxfp8-e4m3", {{"scale_rule", "rceil"}}, {1, 32}, values).at("scales")),
              ElementsAre(227));
}

TEST(ReferenceScheme, OfNoElementsHasOnlyWhatBelongsToTheWholeTensor) {
  const Segments segments = Quantize("bnb-nf4", {{"double_quant", "true"}}, {0, 3}, {});
  EXPECT_EQ(segments.at("codes").size() + segments.at("scales").size() + segments.at("nested_scales").size(), 0);
  EXPECT_THAT(Floats(segments.at("offset")), ElementsAre(0));
}

// Half of the widest gap between two values of the element, in parts of the largest; also what MX clips.
double ErrorMax(const std::string& element) { return element == "int2" ? 0.51 : 0.26; }

void ExpectRoundTrip(const Overrides& scheme, const std::vector<uint64_t>& shape, DataType dtype) {
  std::mt19937 random(2);
  std::uniform_real_distribution<float> uniform(-1, 1);
  uint64_t count = 1;
  for (const uint64_t extent : shape) count *= extent;
  std::vector<float> exact(count);
  std::ranges::generate(exact, [&] { return uniform(random); });
  const Bytes values = WriteFloats(dtype, exact);
  const Bytes decoded = ReferenceDequantize(scheme, dtype, shape, ReferenceQuantize(scheme, dtype, shape, values));
  ASSERT_EQ(decoded.size(), values.size());
  const std::vector<float> expected = ReadFloats(dtype, values);
  const std::vector<float> actual = ReadFloats(dtype, decoded);
  for (size_t i = 0; i < actual.size(); ++i) {
    ASSERT_NEAR(actual[i], expected[i], ErrorMax(scheme.at("element"))) << "element " << i;
  }
}

TEST(ReferenceScheme, EveryPresetDecodesItsOwnBytes) {
  for (const std::string& preset : ReferencePresetNames()) {
    for (const DataType dtype : {DataType::kFloat32, DataType::kFloat16, DataType::kBFloat16}) {
      SCOPED_TRACE(preset);
      ExpectRoundTrip(ReferencePreset(preset), {3, 3, 256}, dtype);
    }
  }
}

TEST(ReferenceScheme, EveryElementDecodesItsOwnBytesInEveryGrouping) {
  for (const std::string element : {"nf4", "fp4_bnb", "fp4_e2m1", "fp4_e3m0", "int2", "int3", "int4", "int5", "int6",
                                    "int7", "int8", "fp8_e4m3", "fp8_e5m2", "dynamic8", "bf16", "fp16"}) {
    for (const std::string grouping : {"none", "tensor", "channel", "block", "group", "tile"}) {
      for (const std::string symmetric : {"true", "false"}) {
        SCOPED_TRACE(element + " " + grouping);
        const Overrides overrides = {{"element", element},     {"grouping", grouping},  {"block_size", "32"},
                                     {"group_size", "11"},     {"tile_rows", "2"},      {"tile_cols", "5"},
                                     {"symmetric", symmetric}, {"scale_dtype", "input"}};
        ExpectRoundTrip(ReferencePreset("int8", overrides), {7, 33}, DataType::kBFloat16);
      }
    }
  }
}

}  // namespace
}  // namespace quantd::testing
