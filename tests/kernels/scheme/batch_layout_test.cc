#include "kernels/scheme/batch_layout.h"

#include <gtest/gtest.h>

namespace quantd {
namespace {

Plan PlanOf(bool double_quant) {
  const auto scheme = ResolveScheme({"bnb-nf4", {{"double_quant", double_quant ? "true" : "false"}}, 0}).value();
  const uint64_t shape[] = {uint64_t{1} << 30};
  return MakePlan(scheme, Direction::kDequantize, DataType::kBFloat16, shape).value();
}

TEST(LayOut, PlacesAlignedAreasOneAfterAnother) {
  const Plan plan = PlanOf(false);
  const BatchLayout layout = LayOut(plan.passes[0], 3);
  ASSERT_EQ(layout.inputs.size(), 2u);
  EXPECT_EQ(layout.inputs[0].offset, 0u);
  EXPECT_EQ(layout.inputs[0].bytes, 12u);
  EXPECT_EQ(layout.inputs[1].offset, 64u);
  EXPECT_EQ(layout.inputs[1].bytes, 96u);
  EXPECT_EQ(layout.outputs[0].offset, 192u);
  EXPECT_EQ(layout.outputs[0].bytes, 384u);
  EXPECT_EQ(layout.bytes, 576u);
}

TEST(LayOut, GivesNothingToSegmentsOfTheWholeTensor) {
  const BatchLayout layout = LayOut(PlanOf(true).passes[0], 1);
  EXPECT_EQ(layout.inputs[0].bytes, 0u);
  EXPECT_EQ(layout.inputs[1].offset, 0u);
  EXPECT_EQ(layout.inputs[1].bytes, 4u);
}

TEST(LayOut, OfNoUnitsIsEmpty) { EXPECT_EQ(LayOut(PlanOf(true).passes[0], 0).bytes, 0u); }

TEST(UnitsThatFit, IsTheLargestNumberThatFits) {
  for (const bool double_quant : {false, true}) {
    const Pass pass = PlanOf(double_quant).passes[0];
    for (uint64_t capacity = 0; capacity < 200'000; capacity += 997) {
      const uint64_t units = UnitsThatFit(pass, UINT64_MAX, capacity);
      EXPECT_LE(LayOut(pass, units).bytes, capacity);
      EXPECT_GT(LayOut(pass, units + 1).bytes, capacity);
    }
  }
}

TEST(UnitsThatFit, FitsExactlyAndNotOneByteLess) {
  const Pass pass = PlanOf(false).passes[0];
  const uint64_t bytes = LayOut(pass, 1000).bytes;
  EXPECT_EQ(UnitsThatFit(pass, 5000, bytes), 1000u);
  EXPECT_EQ(UnitsThatFit(pass, 5000, bytes - 1), 999u);
}

TEST(UnitsThatFit, IsLimitedByTheTensor) { EXPECT_EQ(UnitsThatFit(PlanOf(false).passes[0], 7, 1 << 20), 7u); }

TEST(UnitsThatFit, IsZeroIfNotEvenOneFits) { EXPECT_EQ(UnitsThatFit(PlanOf(true).passes[0], 7, 1 << 10), 0u); }

}  // namespace
}  // namespace quantd
