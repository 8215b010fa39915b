#include "kernels/scheme/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"

namespace quantd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Scheme SchemeOf(const std::string& preset, std::map<std::string, std::string> overrides = {}) {
  return ResolveScheme({preset, std::move(overrides), 0}).value();
}

const Scheme kFlat = SchemeOf("bnb-nf4");
const Scheme kNested = SchemeOf("bnb-nf4", {{"double_quant", "true"}});

Plan MakeQuantize(const Scheme& scheme, std::vector<uint64_t> shape, const KnownStatistics& known = {}) {
  return MakePlan(scheme, Direction::kQuantize, DataType::kFloat32, shape, known).value();
}
Plan MakeDequantize(const Scheme& scheme, std::vector<uint64_t> shape) {
  return MakePlan(scheme, Direction::kDequantize, DataType::kFloat16, shape).value();
}

std::vector<std::string> Names(const std::vector<SegmentLayout>& segments) {
  std::vector<std::string> names;
  for (const SegmentLayout& segment : segments) names.push_back(segment.name);
  return names;
}

std::string Refusal(const absl::Status& status, std::string_view reason) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(DetailsOf(status).reason, reason);
  return std::string(status.message());
}

std::string ShapeRefusal(DataType dtype, const std::vector<uint64_t>& shape) {
  return Refusal(MakePlan(kFlat, Direction::kQuantize, dtype, shape).status(), reason::kInvalidShape);
}

TEST(QuantizePlan, HasOnePassFromValuesToCodesAndScales) {
  const Plan plan = MakeQuantize(kFlat, {3, 50});
  ASSERT_EQ(plan.passes.size(), 1u);
  EXPECT_EQ(plan.unit_elements, 64u);
  EXPECT_EQ(plan.unit_count(), 3u);
  EXPECT_THAT(Names(plan.WireInputs()), ElementsAre("values"));
  EXPECT_THAT(Names(plan.WireOutputs()), ElementsAre("codes", "scales"));
  const SegmentLayout& values = plan.passes[0].inputs[0];
  EXPECT_THAT(values.shape, ElementsAre(3, 50));
  EXPECT_EQ(values.bytes, 600u);
  EXPECT_EQ(values.unit_bytes, 256u);
  const SegmentLayout& codes = plan.passes[0].outputs[0];
  EXPECT_EQ(codes.dtype, DataType::kUint8);
  EXPECT_THAT(codes.shape, ElementsAre(75));
  EXPECT_EQ(codes.unit_bytes, 32u);
  const SegmentLayout& scales = plan.passes[0].outputs[1];
  EXPECT_EQ(scales.dtype, DataType::kFloat32);
  EXPECT_THAT(scales.shape, ElementsAre(3));
  EXPECT_EQ(scales.bytes, 12u);
}

TEST(QuantizePlan, SpoolsTheScalesWhenTheOffsetIsNotKnown) {
  const Plan plan = MakeQuantize(kNested, {64 * 256 * 2 + 1});
  ASSERT_EQ(plan.passes.size(), 2u);
  EXPECT_TRUE(plan.NeedsSpool());
  EXPECT_EQ(plan.unit_elements, 64u * 256);
  EXPECT_EQ(plan.unit_count(), 3u);
  EXPECT_THAT(Names(plan.passes[0].outputs), ElementsAre("codes", "spooled_scales"));
  EXPECT_THAT(Names(plan.passes[1].inputs), ElementsAre("spooled_scales"));
  EXPECT_THAT(Names(plan.passes[1].outputs), ElementsAre("scales", "nested_scales", "offset"));
  EXPECT_THAT(Names(plan.WireInputs()), ElementsAre("values"));
  EXPECT_THAT(Names(plan.WireOutputs()), ElementsAre("codes", "scales", "nested_scales", "offset"));
  EXPECT_EQ(plan.SpoolBytes(), 513u * 4);
  EXPECT_EQ(plan.passes[1].outputs[0].dtype, DataType::kUint8);
  EXPECT_EQ(plan.passes[1].outputs[0].bytes, 513u);
  EXPECT_EQ(plan.passes[1].outputs[1].bytes, 3u * 4);
  EXPECT_TRUE(plan.passes[1].outputs[2].whole_tensor());
  EXPECT_TRUE(plan.passes[1].outputs[2].shape.empty());
  EXPECT_EQ(plan.passes[1].outputs[2].bytes, 4u);
}

TEST(QuantizePlan, HasOnePassWhenTheOffsetIsKnown) {
  const Plan plan = MakeQuantize(kNested, {1000}, {.offset = 0.5f});
  ASSERT_EQ(plan.passes.size(), 1u);
  EXPECT_FALSE(plan.NeedsSpool());
  EXPECT_EQ(plan.SpoolBytes(), 0u);
  EXPECT_THAT(Names(plan.WireOutputs()), ElementsAre("codes", "scales", "nested_scales", "offset"));
}

TEST(DequantizePlan, TakesTheTensorsSegmentsFirstAndScalesBeforeCodes) {
  EXPECT_THAT(Names(MakeDequantize(kFlat, {65}).WireInputs()), ElementsAre("scales", "codes"));
  EXPECT_THAT(Names(MakeDequantize(kNested, {65}).WireInputs()),
              ElementsAre("offset", "nested_scales", "scales", "codes"));
  EXPECT_THAT(Names(MakeDequantize(kNested, {65}).WireOutputs()), ElementsAre("values"));
  EXPECT_EQ(MakeDequantize(kFlat, {65}).passes[0].outputs[0].bytes, 130u);
}

TEST(Plan, GivesEverySegmentsBytesToExactlyOneUnit) {
  for (const Scheme& scheme : {kFlat, kNested, SchemeOf("nf4", {{"block_size", "4096"}})}) {
    for (const uint64_t count : {0u, 1u, 63u, 64u, 65u, 4095u, 4096u, 4097u, 16384u, 16385u, 100'001u}) {
      const Plan plan = MakeQuantize(scheme, {count});
      for (const Pass& pass : plan.passes) {
        for (const SegmentLayout& segment : pass.outputs) {
          if (segment.whole_tensor()) continue;
          uint64_t end_of_last = 0;
          uint64_t elements = 0;
          for (uint64_t unit = 0; unit < plan.unit_count(); ++unit) {
            const auto [begin, end] = plan.BytesOf(segment, unit, unit + 1);
            EXPECT_EQ(begin, end_of_last);
            EXPECT_GT(end, begin);
            end_of_last = end;
            elements += plan.ElementsOf(unit, unit + 1);
          }
          EXPECT_EQ(end_of_last, segment.bytes) << segment.name << " of " << count;
          EXPECT_EQ(elements, count);
        }
      }
    }
  }
}

TEST(Plan, CountsTheBytesOfARaggedUnit) {
  const Plan plan = MakeQuantize(kNested, {64 * 256 + 129});
  EXPECT_EQ(plan.BytesOf(plan.passes[0].inputs[0], 1, 2).second - plan.BytesOf(plan.passes[0].inputs[0], 1, 2).first,
            129u * 4);
  const auto codes = plan.BytesOf(plan.passes[0].outputs[0], 1, 2);
  EXPECT_EQ(codes.second - codes.first, 65u);
  const auto scales = plan.BytesOf(plan.passes[1].outputs[0], 1, 2);
  EXPECT_EQ(scales.second - scales.first, 3u);
  const auto nested = plan.BytesOf(plan.passes[1].outputs[1], 1, 2);
  EXPECT_EQ(nested.second - nested.first, 4u);
}

TEST(Plan, OfNoElementsHasOnlyTheOffset) {
  for (const std::vector<uint64_t>& shape : {std::vector<uint64_t>{0}, {0, 7}, {7, 0, uint64_t{1} << 38}}) {
    const Plan plan = MakeQuantize(kNested, shape);
    EXPECT_EQ(plan.element_count, 0u);
    EXPECT_EQ(plan.unit_count(), 0u);
    EXPECT_EQ(plan.SpoolBytes(), 0u);
    for (const SegmentLayout& segment : plan.WireOutputs())
      EXPECT_EQ(segment.bytes, segment.name == "offset" ? 4u : 0u);
  }
}

TEST(Plan, OfAScalarHasOneElement) { EXPECT_EQ(MakeQuantize(kFlat, {}).element_count, 1u); }

TEST(Plan, ReachesTheLargestTensorAndNotBeyond) {
  const uint64_t largest = kTensorBytesMax / 4;
  const Plan plan = MakeQuantize(kFlat, {largest});
  EXPECT_EQ(plan.passes[0].inputs[0].bytes, kTensorBytesMax);
  EXPECT_EQ(plan.passes[0].outputs[0].bytes, largest / 2);
  EXPECT_EQ(plan.passes[0].outputs[1].bytes, largest / 64 * 4);
  EXPECT_EQ(MakeQuantize(kFlat, {largest - 1}).passes[0].outputs[0].bytes, largest / 2);
  EXPECT_TRUE(MakePlan(kFlat, Direction::kQuantize, DataType::kFloat16, std::vector{largest * 2}).ok());
  EXPECT_THAT(ShapeRefusal(DataType::kFloat32, {largest + 1}), HasSubstr("split it"));
  ShapeRefusal(DataType::kFloat16, {largest * 2 + 1});
}

TEST(Plan, RefusesShapesWhoseProductOverflows) {
  ShapeRefusal(DataType::kFloat32, {UINT64_MAX});
  ShapeRefusal(DataType::kFloat32, {uint64_t{1} << 32, uint64_t{1} << 32});
  ShapeRefusal(DataType::kFloat32, {uint64_t{1} << 33, uint64_t{1} << 33, uint64_t{1} << 33});
  ShapeRefusal(DataType::kFloat32, {0, UINT64_MAX});
  ShapeRefusal(DataType::kFloat32, {UINT64_MAX, 0});
}

TEST(Plan, TakesSixteenExtentsAndRefusesSeventeen) {
  EXPECT_EQ(MakeQuantize(kFlat, std::vector<uint64_t>(16, 2)).element_count, 65536u);
  EXPECT_THAT(ShapeRefusal(DataType::kFloat32, std::vector<uint64_t>(17, 1)), HasSubstr("at most 16"));
}

TEST(Plan, RefusesTypesThatAreNoFloats) {
  for (const int number : {0, 4, 5, 255}) {
    const auto dtype = static_cast<DataType>(number);
    Refusal(MakePlan(kFlat, Direction::kQuantize, dtype, std::vector<uint64_t>{64}).status(), reason::kInvalidDtype);
  }
}

TEST(Plan, RefusesAnOffsetThatNothingUses) {
  const std::vector<uint64_t> shape = {64};
  const KnownStatistics known{.offset = 1.0f};
  Refusal(MakePlan(kFlat, Direction::kQuantize, DataType::kFloat32, shape, known).status(), reason::kUnusedStatistic);
  Refusal(MakePlan(kNested, Direction::kDequantize, DataType::kFloat32, shape, known).status(),
          reason::kUnusedStatistic);
}

TEST(Plan, RefusesAnOffsetThatIsNotFinite) {
  for (const float offset : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    Refusal(MakePlan(kNested, Direction::kQuantize, DataType::kFloat32, std::vector<uint64_t>{64}, {.offset = offset})
                .status(),
            reason::kInvalidStatistic);
  }
}

TEST(UnitsOf, MapsAlignedRangesAndTheTensorsEnd) {
  const Plan plan = MakeQuantize(kFlat, {200});
  EXPECT_EQ(UnitsOf(plan, 0, 200)->end, 4u);
  EXPECT_EQ(UnitsOf(plan, 64, 128)->begin, 1u);
  EXPECT_EQ(UnitsOf(plan, 64, 128)->end, 2u);
  EXPECT_EQ(UnitsOf(plan, 192, 200)->begin, 3u);
  EXPECT_EQ(UnitsOf(plan, 200, 200)->begin, UnitsOf(plan, 200, 200)->end);
  EXPECT_EQ(UnitsOf(MakeQuantize(kFlat, {0}), 0, 0)->end, 0u);
}

TEST(UnitsOf, RefusesRangesInsideAUnitAndNamesTheUnit) {
  const Plan plan = MakeQuantize(kFlat, {200});
  for (const auto& [begin, end] : {std::pair<uint64_t, uint64_t>{1, 64}, {0, 63}, {128, 64}, {0, 256}, {256, 320}}) {
    EXPECT_THAT(Refusal(UnitsOf(plan, begin, end).status(), reason::kUnalignedRange), HasSubstr("64"));
  }
}

TEST(UnitsOf, RefusesAPartOfATensorWhoseOffsetIsStillToBeComputed) {
  const Plan unknown = MakeQuantize(kNested, {64 * 256 * 2});
  EXPECT_TRUE(UnitsOf(unknown, 0, 64 * 256 * 2).ok());
  EXPECT_THAT(Refusal(UnitsOf(unknown, 0, 64 * 256).status(), reason::kStatisticNeeded), HasSubstr("send"));
  EXPECT_TRUE(UnitsOf(MakeQuantize(kNested, {64 * 256 * 2}, {.offset = 1.0f}), 0, 64 * 256).ok());
  EXPECT_TRUE(UnitsOf(MakeDequantize(kNested, {64 * 256 * 2}), 64 * 256, 64 * 256 * 2).ok());
}

TEST(ChannelArraysOfAPlan, AreInputsOfTheWholeTensorBeforeTheValues) {
  const Scheme searched = *ResolveScheme({"int4", {{"range", "mse"}}, 0});
  const auto plan = MakePlan(searched, Direction::kQuantize, DataType::kFloat16, std::vector<uint64_t>{2, 3, 256}, {},
                             {.smoothing_factors = true, .importance = true});
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_THAT(Names(plan->WireInputs()), ElementsAre("smoothing_factors", "importance", "values"));
  const SegmentLayout& factors = plan->passes[0].inputs[0];
  EXPECT_EQ(factors.dtype, DataType::kFloat32);
  EXPECT_THAT(factors.shape, ElementsAre(256));
  EXPECT_TRUE(factors.whole_tensor());
  EXPECT_TRUE(plan->IsForCpuOnly());
}

TEST(ChannelArraysOfAPlan, AreRefusedWhereTheyMeanNothing) {
  const std::vector<uint64_t> shape = {2, 256};
  const auto refusal = [&](Direction direction, const ChannelArrays& arrays) {
    return Refusal(MakePlan(kFlat, direction, DataType::kFloat32, shape, {}, arrays).status(),
                   reason::kUnusedStatistic);
  };
  EXPECT_THAT(refusal(Direction::kQuantize, {.importance = true}), HasSubstr("range=mse"));
  EXPECT_THAT(refusal(Direction::kDequantize, {.smoothing_factors = true}), HasSubstr("Quantize"));
  const std::vector<uint64_t> wide = {1, kChannelsMax + 1};
  EXPECT_THAT(
      Refusal(MakePlan(kFlat, Direction::kQuantize, DataType::kFloat32, wide, {}, {.smoothing_factors = true}).status(),
              reason::kInvalidShape),
      HasSubstr("262144"));
}

}  // namespace
}  // namespace quantd
