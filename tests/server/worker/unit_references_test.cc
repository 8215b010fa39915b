#include "server/worker/unit_references.h"

#include <gtest/gtest.h>

#include <functional>

#include "tests/support/tensor_runner.h"

namespace quantd::server {
namespace {

// Two slots of 64 KiB; a tensor of 4096 float32 in blocks of 64 takes 16 KiB of values, 2 KiB of codes, 256 B of
// scales.
class UnitReferences : public ::testing::Test {
 protected:
  static Plan PlanOf(Direction direction, const SchemeRequest& scheme) {
    return testing::PlanOrDie(scheme, direction, DataType::kFloat32, {4096});
  }
  SlotMemory Slots() { return {memory_.data(), 64 << 10, 2}; }
  UnitBatch Batch(const Plan& plan, uint64_t begin_unit, uint64_t end_unit) {
    UnitBatch batch{.begin_unit = begin_unit, .end_unit = end_unit};
    batch.inputs[0] = memory_.data() + (64 << 10);
    batch.outputs[0] = memory_.data() + (96 << 10);
    if (plan.passes[0].outputs.size() > 1) batch.outputs[1] = memory_.data() + (100 << 10);
    return batch;
  }

  std::vector<std::byte> memory_ = std::vector<std::byte>(128 << 10);
  const Plan plan_ = PlanOf(Direction::kQuantize, {.preset = "bnb-nf4"});
};

TEST_F(UnitReferences, ABatchComesBackAsItWas) {
  UnitBatch batch = Batch(plan_, 3, 61);
  batch.parameters.offset = 0.5f;
  const auto message = ToMessage(plan_, batch, Slots());
  ASSERT_TRUE(message.ok()) << message.status();
  EXPECT_EQ(message->inputs[0], 64u << 10);
  const auto back = ToBatch(*message, plan_, Slots());
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->begin_unit, 3u);
  EXPECT_EQ(back->end_unit, 61u);
  EXPECT_EQ(back->inputs, batch.inputs);
  EXPECT_EQ(back->outputs, batch.outputs);
  EXPECT_EQ(back->parameters.offset, 0.5f);
}

TEST_F(UnitReferences, WholeTensorInputsTravelInside) {
  const Plan plan = PlanOf(Direction::kDequantize, {.preset = "bnb-nf4", .overrides = {{"double_quant", "true"}}});
  UnitBatch batch{.end_unit = plan.unit_count()};
  std::vector<std::vector<std::byte>> whole;
  for (size_t i = 0; i < plan.passes[0].inputs.size(); ++i) {
    const SegmentLayout& input = plan.passes[0].inputs[i];
    batch.inputs[i] = memory_.data() + i * (8 << 10);
    if (input.whole_tensor()) {
      batch.inputs[i] = whole.emplace_back(input.bytes, static_cast<std::byte>(i + 1)).data();
    }
  }
  batch.outputs[0] = memory_.data() + (64 << 10);
  ASSERT_FALSE(whole.empty());
  const auto message = ToMessage(plan, batch, Slots());
  ASSERT_TRUE(message.ok()) << message.status();
  const auto back = ToBatch(*message, plan, Slots());
  ASSERT_TRUE(back.ok()) << back.status();
  for (size_t i = 0; i < plan.passes[0].inputs.size(); ++i) {
    const SegmentLayout& input = plan.passes[0].inputs[i];
    if (!input.whole_tensor()) continue;
    EXPECT_TRUE(std::equal(back->inputs[i], back->inputs[i] + input.bytes, batch.inputs[i])) << input.name;
  }
}

TEST_F(UnitReferences, RefusesMemoryThatIsNotInTheSlots) {
  UnitBatch batch = Batch(plan_, 0, 64);
  const std::vector<std::byte> elsewhere(16 << 10);
  batch.inputs[0] = elsewhere.data();
  EXPECT_EQ(ToMessage(plan_, batch, Slots()).status().code(), absl::StatusCode::kInternal);
  batch.inputs[0] = memory_.data() + (128 << 10) - 100;
  EXPECT_EQ(ToMessage(plan_, batch, Slots()).status().code(), absl::StatusCode::kInternal);
}

// The worker trusts nothing.
TEST_F(UnitReferences, TheWorkerRefusesWhatDoesNotFitItsPlanOrItsSlots) {
  const auto right = ToMessage(plan_, Batch(plan_, 0, 64), Slots());
  ASSERT_TRUE(right.ok());
  const std::pair<const char*, std::function<void(RunMessage&)>> mistakes[] = {
      {"a second pass", [](RunMessage& m) { m.pass = 1; }},
      {"too many units", [](RunMessage& m) { m.end_unit = 65; }},
      {"units backwards", [](RunMessage& m) { m.begin_unit = 64, m.end_unit = 63; }},
      {"units beyond all", [](RunMessage& m) { m.begin_unit = UINT64_MAX - 1, m.end_unit = UINT64_MAX; }},
      {"input beyond the slots", [](RunMessage& m) { m.inputs[0] = 128 << 10; }},
      {"input nowhere", [](RunMessage& m) { m.inputs[0] = kNoOffset; }},
      {"input over the end", [](RunMessage& m) { m.inputs[0] = (128 << 10) - 1; }},
      {"input across two slots", [](RunMessage& m) { m.inputs[0] = (64 << 10) - 64; }},
      {"output across two slots", [](RunMessage& m) { m.outputs[0] = (64 << 10) - 1; }},
      {"output nowhere", [](RunMessage& m) { m.outputs[1] = kNoOffset; }},
      {"an output that the plan lacks", [](RunMessage& m) { m.outputs[2] = 0; }},
      {"an input that the plan lacks", [](RunMessage& m) { m.inputs[7] = 0; }},
      {"bytes for no input", [](RunMessage& m) { m.whole_tensor_inputs.resize(1); }},
  };
  for (const auto& [what, make] : mistakes) {
    RunMessage wrong = *right;
    make(wrong);
    EXPECT_EQ(ToBatch(wrong, plan_, Slots()).status().code(), absl::StatusCode::kInvalidArgument) << what;
  }
}

}  // namespace
}  // namespace quantd::server
