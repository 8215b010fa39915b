#include "kernels/scheme/scheme.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"

namespace quantd {
namespace {

using ::testing::HasSubstr;

std::string Refusal(const SchemeRequest& request, std::string_view reason) {
  const auto scheme = ResolveScheme(request);
  EXPECT_FALSE(scheme.ok());
  EXPECT_EQ(scheme.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(DetailsOf(scheme.status()).reason, reason);
  return std::string(scheme.status().message());
}

TEST(ResolveScheme, FillsInThePresetsDefaults) {
  const auto scheme = ResolveScheme({"bnb-nf4", {}, 0});
  ASSERT_TRUE(scheme.ok());
  EXPECT_EQ(*scheme, (Scheme{.preset = "bnb-nf4",
                             .element = Element::kNf4,
                             .grouping = Grouping::kBlock,
                             .block_size = 64,
                             .scale_dtype = ScaleDtype::kFloat32,
                             .double_quant = false,
                             .nested_code = NestedCode::kDynamic8,
                             .nested_block_size = 256,
                             .arithmetic = Arithmetic::kBitsandbytes,
                             .nonfinite = NonfinitePolicy::kReject,
                             .format_revision = 1}));
}

TEST(ResolveScheme, AppliesOverrides) {
  const auto scheme =
      ResolveScheme({"bnb-fp4", {{"block_size", "4096"}, {"double_quant", "true"}, {"nonfinite", "library"}}, 1});
  ASSERT_TRUE(scheme.ok()) << scheme.status();
  EXPECT_EQ(scheme->element, Element::kFp4Bnb);
  EXPECT_EQ(scheme->block_size, 4096u);
  EXPECT_TRUE(scheme->double_quant);
  EXPECT_EQ(scheme->nonfinite, NonfinitePolicy::kLibrary);
}

TEST(ResolveScheme, TakesAnOverrideThatRestatesAFixedValue) {
  EXPECT_TRUE(ResolveScheme({"bnb-nf4", {{"element", "nf4"}, {"arithmetic", "bitsandbytes"}}, 0}).ok());
  EXPECT_TRUE(ResolveScheme({"nf4", {{"double_quant", "false"}}, 0}).ok());
}

TEST(ResolveScheme, RefusesAnOverrideThatContradictsThePresetAndSaysWhy) {
  EXPECT_THAT(Refusal({"bnb-nf4", {{"element", "fp4_bnb"}}, 0}, reason::kInvalidOverride),
              HasSubstr("the preset bnb-fp4 has fp4_bnb"));
  EXPECT_THAT(Refusal({"bnb-fp4", {{"arithmetic", "strict"}}, 0}, reason::kInvalidOverride),
              HasSubstr("the preset's bytes are those of bitsandbytes"));
}

TEST(ResolveScheme, RefusesWhatMakesNoSenseAndSaysWhy) {
  EXPECT_THAT(Refusal({"nf4", {{"nonfinite", "library"}}, 0}, reason::kInvalidOverride),
              HasSubstr("the element has no code for NaN"));
  EXPECT_THAT(Refusal({"nf4", {{"grouping", "channel"}, {"double_quant", "true"}}, 0}, reason::kInvalidOverride),
              HasSubstr("defined for scales of blocks"));
  EXPECT_THAT(Refusal({"nf4", {{"scale_dtype", "float16"}, {"double_quant", "true"}}, 0}, reason::kInvalidOverride),
              HasSubstr("leave scale_dtype at float32"));
  EXPECT_THAT(Refusal({"int8", {{"group_size", "64"}}, 0}, reason::kInvalidOverride),
              HasSubstr("group_size means something only with grouping=group"));
  EXPECT_THAT(Refusal({"fp8-e4m3", {{"grouping", "none"}, {"scale_dtype", "float32"}}, 0}, reason::kInvalidOverride),
              HasSubstr("a cast"));
  EXPECT_THAT(Refusal({"mxfp4", {{"group_size", "16"}}, 0}, reason::kInvalidOverride), HasSubstr("groups of 32"));
}

TEST(ResolveScheme, NoScaleAndNoGroupingFollowFromEachOther) {
  const Scheme cast = ResolveScheme({"fp8-e4m3", {{"scale_dtype", "none"}}, 0}).value();
  EXPECT_EQ(cast.grouping, Grouping::kNone);
  EXPECT_EQ(ResolveScheme({"fp8-e4m3", {{"grouping", "none"}}, 0}).value(), cast);
}

TEST(ResolveScheme, NamesThePossibleValues) {
  const std::string message = Refusal({"bnb-nf4", {{"block_size", "65"}}, 0}, reason::kInvalidOverride);
  EXPECT_THAT(message, HasSubstr("block_size='65'"));
  EXPECT_THAT(message, HasSubstr("32, 64, 128, 256, 512, 1024, 2048, 4096"));
  Refusal({"bnb-nf4", {{"block_size", "064"}}, 0}, reason::kInvalidOverride);
  Refusal({"bnb-nf4", {{"block_size", ""}}, 0}, reason::kInvalidOverride);
  Refusal({"bnb-nf4", {{"double_quant", "yes"}}, 0}, reason::kInvalidOverride);
}

TEST(ResolveScheme, NamesThePossibleOverrides) {
  EXPECT_THAT(Refusal({"bnb-nf4", {{"group_size", "64"}}, 0}, reason::kInvalidOverride),
              HasSubstr("element, grouping, block_size, scale_dtype, double_quant"));
}

TEST(ResolveScheme, NamesThePresetsWhenItKnowsNoneOfThatName) {
  EXPECT_THAT(Refusal({"nf5", {}, 0}, reason::kUnknownScheme), HasSubstr("bnb-nf4, bnb-fp4, bnb-dynamic8"));
  Refusal({"", {}, 0}, reason::kUnknownScheme);
}

TEST(ResolveScheme, RefusesARevisionOfTheFuture) {
  EXPECT_THAT(Refusal({"bnb-nf4", {}, 2}, reason::kUnknownRevision), HasSubstr("which knows 1"));
}

TEST(ResolveScheme, QuotesStrangersTextOnlyInPart) {
  EXPECT_LT(Refusal({std::string(100'000, 'x'), {}, 0}, reason::kUnknownScheme).size(), 500u);
  EXPECT_LT(Refusal({"bnb-nf4", {{std::string(100'000, 'x'), "1"}}, 0}, reason::kInvalidOverride).size(), 500u);
  EXPECT_LT(Refusal({"bnb-nf4", {{"block_size", std::string(100'000, '9')}}, 0}, reason::kInvalidOverride).size(),
            500u);
}

// Sizes mean something with their grouping only.
SchemeRequest WithContext(const std::string& preset, const std::string& name, const std::string& value) {
  SchemeRequest request{preset, {{name, value}}, 0};
  if (name == "block_size") request.overrides["grouping"] = "block";
  if (name == "group_size") request.overrides["grouping"] = "group";
  if (name == "tile_rows" || name == "tile_cols") request.overrides["grouping"] = "tile";
  return request;
}

TEST(FullyResolved, ResolvesToTheSameSchemeForEveryValueOfEveryOverride) {
  for (const PresetInfo& preset : AllPresets()) {
    for (const OverrideInfo& override_info : preset.overrides) {
      for (const std::string& value : override_info.values) {
        const auto scheme = ResolveScheme(WithContext(preset.name, override_info.name, value));
        ASSERT_TRUE(scheme.ok()) << scheme.status();
        const SchemeRequest request = FullyResolved(*scheme);
        EXPECT_EQ(request.overrides.at(override_info.name), value);
        EXPECT_EQ(request.format_revision, 1u);
        EXPECT_EQ(ResolveScheme(request).value(), *scheme);
      }
    }
  }
}

TEST(AllPresets, HaveDefaultsAmongTheirValues) {
  ASSERT_EQ(AllPresets().size(), 34u);
  for (const PresetInfo& preset : AllPresets()) {
    EXPECT_FALSE(preset.summary.empty());
    for (const OverrideInfo& override_info : preset.overrides) {
      EXPECT_THAT(override_info.values, ::testing::Contains(override_info.default_value)) << override_info.name;
    }
  }
}

TEST(BitsPerElement, CountsTheScales) {
  EXPECT_DOUBLE_EQ(BitsPerElement(ResolveScheme({"bnb-nf4", {}, 0}).value()), 4.5);
  EXPECT_DOUBLE_EQ(BitsPerElement(ResolveScheme({"bnb-nf4", {{"double_quant", "true"}}, 0}).value()),
                   4 + (8 + 32.0 / 256) / 64);
  EXPECT_DOUBLE_EQ(BitsPerElement(ResolveScheme({"ct-w4a16-asym", {}, 0}).value()), 4 + (16 + 4) / 128.0);
  EXPECT_DOUBLE_EQ(BitsPerElement(ResolveScheme({"ct-nvfp4", {}, 0}).value()), 4.5);
  EXPECT_DOUBLE_EQ(BitsPerElement(ResolveScheme({"mxfp8-e4m3", {}, 0}).value()), 8.25);
  EXPECT_DOUBLE_EQ(BitsPerElement(ResolveScheme({"ggml-q5_1", {}, 0}).value()), 6);
  EXPECT_DOUBLE_EQ(BitsPerElement(ResolveScheme({"bnb-int8", {}, 0}).value()), 8);
}

TEST(RangeOverride, IsForTheIntegerPresetsAndNotForOneRangeOfTheTensor) {
  EXPECT_EQ(ResolveScheme({"int8", {}, 0})->range, RangeChoice::kMinmax);
  EXPECT_EQ(ResolveScheme({"int4-asym", {{"range", "mse"}}, 0})->range, RangeChoice::kMse);
  const auto whole = ResolveScheme({"int8", {{"range", "mse"}, {"grouping", "tensor"}}, 0});
  EXPECT_EQ(DetailsOf(whole.status()).reason, reason::kInvalidOverride);
  EXPECT_EQ(DetailsOf(whole.status()).metadata.front().second, "range");
  EXPECT_FALSE(ResolveScheme({"bnb-nf4", {{"range", "minmax"}}, 0}).ok());
}

}  // namespace
}  // namespace quantd
