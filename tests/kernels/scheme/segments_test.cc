// What each family of schemes reads and writes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "kernels/scheme/plan.h"

namespace quantd {
namespace {

using ::testing::HasSubstr;

using Overrides = std::map<std::string, std::string>;

absl::StatusOr<Plan> TryQuantize(const std::string& preset, const Overrides& overrides, std::vector<uint64_t> shape,
                                 const KnownStatistics& known = {}, DataType dtype = DataType::kBFloat16) {
  const auto scheme = ResolveScheme({preset, overrides, 0});
  if (!scheme.ok()) return scheme.status();
  return MakePlan(*scheme, Direction::kQuantize, dtype, shape, known);
}

Plan Quantize(const std::string& preset, const Overrides& overrides, std::vector<uint64_t> shape,
              const KnownStatistics& known = {}) {
  return TryQuantize(preset, overrides, std::move(shape), known).value();
}

// "codes int8 [3,5]; scales float32 [3,1]"
std::string Describe(const std::vector<SegmentLayout>& segments) {
  std::string text;
  for (const SegmentLayout& segment : segments) {
    if (!text.empty()) text.append("; ");
    text.append(segment.name).append(" ").append(InfoOf(segment.dtype).name).append(" [");
    for (size_t i = 0; i < segment.shape.size(); ++i) {
      if (i > 0) text.append(",");
      text.append(std::to_string(segment.shape[i]));
    }
    text.append("]");
  }
  return text;
}

std::string Outputs(const std::string& preset, const Overrides& overrides, std::vector<uint64_t> shape) {
  return Describe(Quantize(preset, overrides, std::move(shape)).WireOutputs());
}

TEST(Segments, OfARowSchemeHaveTheTensorsShapeAndAScaleForEachRow) {
  EXPECT_EQ(Outputs("int8", {}, {2, 3, 5}), "codes int8 [2,3,5]; scales float32 [6,1]");
  EXPECT_EQ(Outputs("int8-asym", {}, {3, 5}), "codes int8 [3,5]; scales float32 [3,1]; zero_points int8 [3,1]");
  EXPECT_EQ(Outputs("bnb-int8", {}, {3, 5}), "codes int8 [3,5]; scales float32 [3]");
  EXPECT_EQ(Outputs("ct-w8a8", {}, {3, 5}), "codes int8 [3,5]; scales bfloat16 [3,1]");
  EXPECT_EQ(Outputs("ct-fp8-dynamic", {}, {3, 5}), "codes float8_e4m3 [3,5]; scales bfloat16 [3,1]");
}

TEST(Segments, OfPackedWordsAreThoseOfCompressedTensors) {
  EXPECT_EQ(Outputs("ct-w4a16", {}, {130, 384}),
            "codes int32 [130,48]; scales bfloat16 [130,3]; weight_shape int64 [2]");
  EXPECT_EQ(Outputs("ct-w3a16", {}, {130, 384}),
            "codes int32 [130,36]; scales bfloat16 [130,3]; weight_shape int64 [2]");
  EXPECT_EQ(Outputs("ct-w4a16-asym", {}, {130, 384}),
            "codes int32 [130,48]; scales bfloat16 [130,3]; zero_points int32 [17,3]; weight_shape int64 [2]");
}

TEST(Segments, OfSmallFloatsInGroups) {
  EXPECT_EQ(Outputs("mxfp4", {}, {4, 96}), "codes uint8 [4,48]; scales uint8 [4,3]");
  EXPECT_EQ(Outputs("mxfp8-e5m2", {}, {4, 96}), "codes float8_e5m2 [4,96]; scales uint8 [4,3]");
  EXPECT_EQ(Outputs("ct-nvfp4", {}, {4, 96}), "codes uint8 [4,48]; scales float8_e4m3 [4,6]; global_scale float32 [1]");
}

TEST(Segments, OfTilesHaveAScaleForEachTileAndNoPadding) {
  EXPECT_EQ(Outputs("ct-fp8-block", {}, {130, 300}), "codes float8_e4m3 [130,300]; scales bfloat16 [2,3]");
  EXPECT_EQ(Outputs("int4", {{"grouping", "tile"}}, {130, 301}), "codes uint8 [130,151]; scales float32 [2,3]");
}

TEST(Segments, OfAWholeTensorsScaleComeLast) {
  EXPECT_EQ(Outputs("fp8-e4m3", {}, {3, 5}), "codes float8_e4m3 [3,5]; scales float32 [1]");
  EXPECT_EQ(Outputs("int4-asym", {{"grouping", "tensor"}}, {3, 5}),
            "codes uint8 [8]; scales float32 [1]; zero_points int8 [1]");
}

TEST(Segments, OfGgmlAreBlocks) {
  EXPECT_EQ(Outputs("ggml-q4_0", {}, {3, 64}), "blocks uint8 [3,36]");
  EXPECT_EQ(Outputs("ggml-q8_0", {}, {3, 64}), "blocks uint8 [3,68]");
}

TEST(Segments, OfACastAreCodesAlone) {
  EXPECT_EQ(Outputs("bf16", {}, {3, 5}), "codes bfloat16 [3,5]");
  EXPECT_EQ(Outputs("fp8-e5m2", {{"scale_dtype", "none"}}, {3, 5}), "codes float8_e5m2 [3,5]");
}

TEST(Segments, DequantizeTakesWholeTensorOnesFirstAndNoWeightShape) {
  const auto inputs = [](const std::string& preset, const Overrides& overrides) {
    const Scheme scheme = ResolveScheme({preset, overrides, 0}).value();
    const uint64_t shape[] = {16, 128};
    return Describe(MakePlan(scheme, Direction::kDequantize, DataType::kFloat32, shape).value().WireInputs());
  };
  EXPECT_EQ(inputs("ct-nvfp4", {}), "global_scale float32 [1]; scales float8_e4m3 [16,8]; codes uint8 [16,64]");
  EXPECT_EQ(inputs("ct-w4a16-asym", {}), "scales float32 [16,1]; zero_points int32 [2,1]; codes int32 [16,16]");
  EXPECT_EQ(inputs("int8-asym", {{"grouping", "tensor"}}),
            "scales float32 [1]; zero_points int8 [1]; codes int8 [16,128]");
}

TEST(Units, AreRunsRowsBandsOrEightRows) {
  EXPECT_EQ(Quantize("mxfp4", {}, {4, 96}).unit_elements, 32u);
  EXPECT_EQ(Quantize("int8", {}, {4, 96}).unit_elements, 96u);
  EXPECT_EQ(Quantize("ct-fp8-block", {}, {130, 300}).unit_elements, 128u * 300);
  EXPECT_EQ(Quantize("ct-w4a16-asym", {}, {130, 384}).unit_elements, 8u * 384);
  EXPECT_EQ(Quantize("ct-w4a16-asym", {}, {130, 384}).unit_count(), 17u);
}

TEST(TwoPasses, SpoolTheValuesUntilTheTensorsRangeIsKnown) {
  const Plan plan = Quantize("ct-nvfp4", {}, {4, 96});
  ASSERT_EQ(plan.passes.size(), 2u);
  EXPECT_EQ(Describe(plan.passes[0].outputs), "spooled_values bfloat16 [4,96]");
  EXPECT_EQ(Describe(plan.passes[1].inputs), "spooled_values bfloat16 [4,96]");
  EXPECT_EQ(plan.SpoolBytes(), 4u * 96 * 2);
  EXPECT_EQ(Describe(plan.WireInputs()), "values bfloat16 [4,96]");
  EXPECT_EQ(Quantize("ct-nvfp4", {}, {4, 96}, {.amax = 3.0f}).passes.size(), 1u);
  EXPECT_EQ(Quantize("ct-nvfp4", {}, {4, 96}, {.global_scale = 3.0f}).passes.size(), 1u);
  EXPECT_EQ(Quantize("ct-fp8", {}, {4, 96}).passes.size(), 2u);
  EXPECT_EQ(Quantize("ct-fp8", {}, {4, 96}, {.amax = 3.0f}).passes.size(), 1u);
  const Overrides tensor = {{"grouping", "tensor"}};
  EXPECT_EQ(Quantize("int8-asym", tensor, {4, 96}, {.min = -1.0f, .max = 2.0f}).passes.size(), 1u);
}

TEST(TwoPasses, APartNeedsTheStatisticAndIsToldWhich) {
  const absl::Status status = UnitsOf(Quantize("ct-nvfp4", {}, {4, 96}), 0, 96).status();
  EXPECT_EQ(DetailsOf(status).reason, reason::kStatisticNeeded);
  EXPECT_THAT(std::string(status.message()), HasSubstr("global_scale"));
}

TEST(MakePlan, RefusesRowsThatGroupsDoNotDivideAndSaysWhatToDo) {
  const absl::Status status = TryQuantize("ct-w4a16", {}, {4, 100}).status();
  EXPECT_EQ(DetailsOf(status).reason, reason::kInvalidShape);
  EXPECT_THAT(std::string(status.message()), HasSubstr("choose a group_size that divides"));
}

TEST(MakePlan, RefusesStatisticsThatNothingUsesOrThatContradict) {
  const auto reason_of = [](const std::string& preset, const Overrides& overrides, const KnownStatistics& known) {
    return DetailsOf(TryQuantize(preset, overrides, {4, 128}, known).status()).reason;
  };
  const Overrides tensor = {{"grouping", "tensor"}};
  EXPECT_EQ(reason_of("int8", {}, {.amax = 1.0f}), reason::kUnusedStatistic);
  EXPECT_EQ(reason_of("int8-asym", tensor, {.amax = 1.0f}), reason::kUnusedStatistic);
  EXPECT_EQ(reason_of("int8", tensor, {.min = 1.0f, .max = 2.0f}), reason::kUnusedStatistic);
  EXPECT_EQ(reason_of("int8", tensor, {.global_scale = 1.0f}), reason::kUnusedStatistic);
  EXPECT_EQ(reason_of("int8", tensor, {.amax = -1.0f}), reason::kInvalidStatistic);
  EXPECT_EQ(reason_of("int8-asym", tensor, {.min = 1.0f}), reason::kInvalidStatistic);
  EXPECT_EQ(reason_of("int8-asym", tensor, {.min = 2.0f, .max = 1.0f}), reason::kInvalidStatistic);
  EXPECT_EQ(reason_of("ct-nvfp4", {}, {.global_scale = 0.0f}), reason::kInvalidStatistic);
  EXPECT_EQ(reason_of("ct-nvfp4", {}, {.amax = 1.0f, .global_scale = 1.0f}), reason::kInvalidStatistic);
}

TEST(MakePlan, InputScalesTakeTheTypeOfTheValues) {
  for (const auto& [dtype, scale] : {std::pair{DataType::kFloat32, ScaleDtype::kFloat32},
                                     {DataType::kFloat16, ScaleDtype::kFloat16},
                                     {DataType::kBFloat16, ScaleDtype::kBFloat16}}) {
    EXPECT_EQ(TryQuantize("ct-w8a8", {}, {4, 8}, {}, dtype)->scheme.scale_dtype, scale);
  }
}

TEST(WeightShape, IsWhatTheTensorHadAlsoWithoutElements) {
  const Plan plan = Quantize("ct-w4a16", {}, {2, 3, 0});
  const std::vector<std::byte> bytes = WholeTensorBytes(plan, plan.WireOutputs().back(), {});
  EXPECT_EQ(bytes[0], std::byte{6});
  EXPECT_EQ(bytes[8], std::byte{0});
  EXPECT_EQ(bytes.size(), 16u);
}

}  // namespace
}  // namespace quantd
