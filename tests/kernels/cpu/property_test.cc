// What must hold for any tensor. Every failure prints its seed.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "kernels/cpu/cpu_backend.h"
#include "tests/support/tensor_runner.h"

namespace quantd::testing {
namespace {

class Property : public ::testing::TestWithParam<uint64_t> {
 protected:
  Property() : random_(MakeRandom(GetParam())), trace_(__FILE__, __LINE__, "seed " + std::to_string(GetParam())) {}

  std::unique_ptr<Backend> backend_ = MakeCpuBackend();
  std::mt19937_64 random_;
  ::testing::ScopedTrace trace_;
};

INSTANTIATE_TEST_SUITE_P(Seeds, Property, ::testing::Range(uint64_t{1}, uint64_t{9}));

SchemeRequest AnyRequest(std::mt19937_64& random) {
  const std::string preset = std::array{"bnb-nf4", "bnb-fp4", "nf4"}[random() % 3];
  const bool double_quant = preset != "nf4" && random() % 2 == 0;
  const uint32_t block_size = 32u << random() % 4;
  return {preset, {{"block_size", std::to_string(block_size)}, {"double_quant", double_quant ? "true" : "false"}}, 0};
}

uint32_t BlockSizeOf(const SchemeRequest& request) {
  return static_cast<uint32_t>(std::stoul(request.overrides.at("block_size")));
}

TEST_P(Property, AnySplitIntoBatchesGivesTheSameBytes) {
  const SchemeRequest request = AnyRequest(random_);
  const uint64_t count = 200'000 + random_() % 1000;
  const Bytes values = BytesOf(RandomTensor(random_, count, BlockSizeOf(request)));
  const Plan quantize = PlanOrDie(request, Direction::kQuantize, DataType::kFloat32, {count});
  const Plan dequantize = PlanOrDie(request, Direction::kDequantize, DataType::kFloat32, {count});
  const TensorRun whole = RunTensor(*backend_, quantize, {{"values", values}});
  const TensorRun restored = RunTensor(*backend_, dequantize, whole.outputs);
  for (const uint64_t units : {uint64_t{1}, uint64_t{2}, 1 + random_() % 100}) {
    const TensorRun split = RunTensor(*backend_, quantize, {{"values", values}}, units);
    EXPECT_EQ(split.outputs, whole.outputs) << units << " units";
    EXPECT_EQ(split.result.range.amax, whole.result.range.amax);
    EXPECT_EQ(RunTensor(*backend_, dequantize, whole.outputs, units).outputs, restored.outputs) << units << " units";
  }
}

// Holds wherever the block's largest value has an outermost level, so that absmax comes back: strict NF4 always, and
// NF4 of bitsandbytes up to 2^126. (Its FP4 also has the level 1, but -0 and 0 exchange codes 0 and 8.)
TEST_P(Property, QuantizingWhatWasDequantizedChangesNothing) {
  constexpr uint64_t kElements = 64 * 200 + 9;
  std::vector<float> values = RandomTensor(random_, kElements, 64);
  // A zero block of bitsandbytes has code 0 and dequantizes to -0, which quantizes to code 0 again.
  for (const char* const preset : {"bnb-nf4", "nf4"}) {
    const Plan quantize = PlanOrDie({preset, {}, 0}, Direction::kQuantize, DataType::kFloat32, {kElements});
    const Plan dequantize = PlanOrDie({preset, {}, 0}, Direction::kDequantize, DataType::kFloat32, {kElements});
    if (preset == std::string("bnb-nf4")) {
      for (float& value : values) value = std::clamp(value, -0x1p126f, 0x1p126f);
    }
    const TensorRun once = RunTensor(*backend_, quantize, {{"values", BytesOf(values)}});
    const TensorRun again = RunTensor(*backend_, quantize, RunTensor(*backend_, dequantize, once.outputs).outputs);
    EXPECT_EQ(again.outputs, once.outputs) << preset;
  }
}

TEST_P(Property, ScalingByAPowerOfTwoScalesOnlyTheScales) {
  constexpr uint64_t kElements = 5000;
  std::normal_distribution<float> normal;
  std::vector<float> values(kElements);
  for (float& value : values) value = normal(random_);
  const int exponent = static_cast<int>(random_() % 160) - 80;
  std::vector<float> scaled = values;
  for (float& value : scaled) value = std::ldexp(value, exponent);
  for (const char* const preset : {"bnb-nf4", "bnb-fp4", "nf4"}) {
    const Plan plan = PlanOrDie({preset, {}, 0}, Direction::kQuantize, DataType::kFloat32, {kElements});
    const TensorRun original = RunTensor(*backend_, plan, {{"values", BytesOf(values)}});
    const TensorRun moved = RunTensor(*backend_, plan, {{"values", BytesOf(scaled)}});
    EXPECT_EQ(moved.outputs.at("codes"), original.outputs.at("codes")) << preset << " times 2^" << exponent;
    auto expected = ValuesOf<float>(original.outputs.at("scales"));
    for (float& scale : expected) scale = std::ldexp(scale, exponent);
    EXPECT_EQ(moved.outputs.at("scales"), BytesOf(expected)) << preset << " times 2^" << exponent;
  }
}

TEST_P(Property, NegatingNf4NeverChangesAScale) {
  std::vector<float> values = RandomTensor(random_, 3000, 64);
  const Plan plan = PlanOrDie({"nf4", {}, 0}, Direction::kQuantize, DataType::kFloat32, {values.size()});
  const TensorRun original = RunTensor(*backend_, plan, {{"values", BytesOf(values)}});
  for (float& value : values) value = -value;
  EXPECT_EQ(RunTensor(*backend_, plan, {{"values", BytesOf(values)}}).outputs.at("scales"),
            original.outputs.at("scales"));
}

// Half the widest gap between two levels of NF4, in units of absmax, and the roundings on the way.
TEST_P(Property, StrictNf4IsNeverFurtherOffThanHalfTheWidestGap) {
  constexpr uint64_t kElements = 64 * 50;
  std::normal_distribution<float> normal;
  std::vector<float> values(kElements);
  for (float& value : values) value = normal(random_);
  const Plan quantize = PlanOrDie({"nf4", {}, 0}, Direction::kQuantize, DataType::kFloat32, {kElements});
  const Plan dequantize = PlanOrDie({"nf4", {}, 0}, Direction::kDequantize, DataType::kFloat32, {kElements});
  const TensorRun quantized = RunTensor(*backend_, quantize, {{"values", BytesOf(values)}});
  const auto restored = ValuesOf<float>(RunTensor(*backend_, dequantize, quantized.outputs).outputs.at("values"));
  const auto scales = ValuesOf<float>(quantized.outputs.at("scales"));
  constexpr float kHalfWidestGap = (1.0f - 0.6961928f) / 2;
  for (uint64_t i = 0; i < kElements; ++i) {
    ASSERT_LE(std::fabs(values[i] - restored[i]), kHalfWidestGap * scales[i / 64] * 1.00001f) << i;
  }
}

}  // namespace
}  // namespace quantd::testing
