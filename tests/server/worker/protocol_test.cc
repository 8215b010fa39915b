#include "server/worker/protocol.h"

#include <gtest/gtest.h>

#include <limits>

#include "tests/support/tensor_runner.h"

namespace quantd::server {
namespace {

OpenPlanMessage Plan() {
  return {.plan_slot = 63,
          .scheme = {"bnb-nf4", {{"block_size", "128"}, {"double_quant", "true"}}, 1},
          .direction = Direction::kDequantize,
          .values_dtype = DataType::kBFloat16,
          .shape = {3, uint64_t{1} << 40, 0},
          .known = {.offset = 0.25f, .max = -0.0f}};
}

RunMessage SomeRun() {
  RunMessage run{.id = UINT64_MAX, .plan_slot = 7, .pass = 1, .begin_unit = 5, .end_unit = uint64_t{1} << 50};
  run.parameters = {1.5f, std::numeric_limits<float>::quiet_NaN(), {0xdeadbeef, 2, -3}};
  run.inputs.fill(kNoOffset);
  run.outputs = {0, 1, 2, 3, 4, 5, 6, 7};
  run.whole_tensor_inputs = {std::byte{1}, std::byte{255}};
  return run;
}

// One of each kind, every field with a value of its own.
std::vector<WorkerMessage> OneOfEach() {
  BatchResult result;
  result.nonfinite_count = 3;
  result.first_nonfinite_element = 17;
  result.range = {3.5f, -2, 1};
  return {StartMessage{6 << 20, 16, 4, uint64_t{2} << 30, "GPU-1234"},
          ReadyMessage{"sm_90", 3},
          FailedMessage{absl::StatusCode::kInternal, "no such device"},
          Plan(),
          SomeRun(),
          ResultMessage{9, absl::StatusCode::kResourceExhausted, "no memory", result},
          CancelMessage{12},
          ProbeMessage{13},
          TrimMessage{},
          ShutdownMessage{}};
}

TEST(WorkerProtocol, EveryMessageComesBackAsItWas) {
  ASSERT_EQ(OneOfEach().size(), std::variant_size_v<WorkerMessage>);
  for (const WorkerMessage& message : OneOfEach()) {
    const auto bytes = EncodeWorkerMessage(message);
    const auto decoded = DecodeWorkerMessage(bytes);
    ASSERT_TRUE(decoded.ok()) << message.index() << ": " << decoded.status();
    EXPECT_EQ(decoded->index(), message.index());
    EXPECT_EQ(EncodeWorkerMessage(*decoded), bytes) << message.index();
  }
}

TEST(WorkerProtocol, APlanKeepsEveryField) {
  const auto decoded = DecodeWorkerMessage(EncodeWorkerMessage(Plan()));
  ASSERT_TRUE(decoded.ok());
  const auto& plan = std::get<OpenPlanMessage>(*decoded);
  EXPECT_EQ(plan.plan_slot, 63u);
  EXPECT_EQ(plan.scheme.preset, "bnb-nf4");
  EXPECT_EQ(plan.scheme.overrides, Plan().scheme.overrides);
  EXPECT_EQ(plan.scheme.format_revision, 1u);
  EXPECT_EQ(plan.direction, Direction::kDequantize);
  EXPECT_EQ(plan.values_dtype, DataType::kBFloat16);
  EXPECT_EQ(plan.shape, Plan().shape);
  EXPECT_EQ(plan.known.offset, 0.25f);
  EXPECT_EQ(plan.known.amax, std::nullopt);
  EXPECT_TRUE(std::signbit(*plan.known.max));
}

TEST(WorkerProtocol, ARunKeepsEveryField) {
  const auto decoded = DecodeWorkerMessage(EncodeWorkerMessage(SomeRun()));
  ASSERT_TRUE(decoded.ok());
  const auto& run = std::get<RunMessage>(*decoded);
  EXPECT_EQ(run.id, UINT64_MAX);
  EXPECT_EQ(run.plan_slot, 7u);
  EXPECT_EQ(run.pass, 1u);
  EXPECT_EQ(run.begin_unit, 5u);
  EXPECT_EQ(run.end_unit, uint64_t{1} << 50);
  EXPECT_EQ(run.parameters.scale.stored, 0xdeadbeef);
  EXPECT_EQ(run.parameters.scale.zero, -3);
  EXPECT_EQ(run.outputs, SomeRun().outputs);
  EXPECT_EQ(run.whole_tensor_inputs, SomeRun().whole_tensor_inputs);
}

TEST(WorkerProtocol, RefusesEveryTruncation) {
  for (const WorkerMessage& message : OneOfEach()) {
    const auto bytes = EncodeWorkerMessage(message);
    for (size_t count = 0; count < bytes.size(); ++count) {
      EXPECT_FALSE(DecodeWorkerMessage(std::span(bytes).first(count)).ok()) << message.index() << " at " << count;
    }
  }
}

TEST(WorkerProtocol, RefusesBytesAfterTheLastField) {
  for (const WorkerMessage& message : OneOfEach()) {
    auto bytes = EncodeWorkerMessage(message);
    bytes.push_back(std::byte{0});
    EXPECT_FALSE(DecodeWorkerMessage(bytes).ok()) << message.index();
  }
}

// What is accepted is what the writer would have made: no two messages are the same thing.
TEST(WorkerProtocol, AMutationIsRefusedOrIsAnotherMessage) {
  for (const WorkerMessage& message : OneOfEach()) {
    const auto original = EncodeWorkerMessage(message);
    for (size_t bit = 0; bit < 8 * original.size(); ++bit) {
      auto bytes = original;
      bytes[bit / 8] ^= std::byte{1} << (bit % 8);
      const auto decoded = DecodeWorkerMessage(bytes);
      if (decoded.ok()) {
        EXPECT_EQ(EncodeWorkerMessage(*decoded), bytes) << message.index() << " bit " << bit;
      }
    }
  }
}

TEST(WorkerProtocol, RandomBytesBehindARightBeginningDoNoHarm) {
  auto random = testing::MakeRandom(11);
  for (int round = 0; round < 20'000; ++round) {
    auto bytes = EncodeWorkerMessage(OneOfEach()[random() % OneOfEach().size()]);
    bytes.resize(7 + random() % 300);
    for (size_t i = 7; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(random());
    const auto decoded = DecodeWorkerMessage(bytes);
    if (decoded.ok()) {
      EXPECT_EQ(EncodeWorkerMessage(*decoded), bytes);
    }
  }
}

TEST(WorkerProtocol, CutsLongTexts) {
  const auto decoded =
      DecodeWorkerMessage(EncodeWorkerMessage(FailedMessage{absl::StatusCode::kInternal, std::string(10'000, 'x')}));
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(std::get<FailedMessage>(*decoded).message.size(), kWorkerTextBytesMax);
}

TEST(WorkerProtocol, NamesTheRemedyForAnotherVersion) {
  auto bytes = EncodeWorkerMessage(TrimMessage{});
  bytes[4] ^= std::byte{1};
  const auto decoded = DecodeWorkerMessage(bytes);
  EXPECT_NE(decoded.status().message().find("install quantd and quantd-gpu-worker of one release"),
            absl::string_view::npos);
}

TEST(WorkerProtocol, ItsLongestMessageFits) {
  OpenPlanMessage plan = Plan();
  plan.shape.assign(kRankMax, UINT64_MAX);
  for (const PresetInfo& preset : AllPresets()) {
    const auto scheme = ResolveScheme({.preset = preset.name});
    ASSERT_TRUE(scheme.ok());
    plan.scheme = FullyResolved(*scheme);
    EXPECT_LE(EncodeWorkerMessage(plan).size(), kWorkerMessageBytesMax) << preset.name;
    EXPECT_LE(plan.scheme.overrides.size(), kWorkerOverridesMax);
  }
  RunMessage run = SomeRun();
  run.whole_tensor_inputs.resize(kWorkerInlineBytesMax);
  EXPECT_LE(EncodeWorkerMessage(run).size(), kWorkerMessageBytesMax);
}

}  // namespace
}  // namespace quantd::server
