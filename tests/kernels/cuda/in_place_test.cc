// Small batches that kernels compute in the host's memory: the bytes of the CPU, and nothing beside them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/device_process.h"
#include "tests/support/pieces_backend.h"
#include "tests/support/tensor_runner.h"

namespace quantd::testing {
namespace {

constexpr uint64_t kMemoryBytes = 4 << 20;
constexpr uint64_t kAlignmentBytes = 64;
constexpr std::byte kGuard{0xa5};

// Has each batch computed in registered memory, and finds what was written outside of its outputs.
class InRegisteredMemory final : public Backend {
 public:
  explicit InRegisteredMemory(uint64_t pieces_max)
      : memory_(kMemoryBytes + kAlignmentBytes),
        registered_(RegisteredMemory::Register(memory_).value()),
        backend_(MakePiecesBackend(MakeCudaBackend(0, MakeCpuBackend(), {.mapped = registered_.mapped()}).value(),
                                   pieces_max)) {}

  std::string_view name() const override { return backend_->name(); }
  std::string_view target() const override { return backend_->target(); }

  absl::StatusOr<BatchResult> Run(const Plan& plan, const UnitBatch& batch,
                                  const std::atomic<bool>& cancelled) override {
    std::ranges::fill(memory_, kGuard);
    UnitBatch there = batch;
    const Pass& pass = plan.passes[batch.pass];
    uint64_t end = kAlignmentBytes - reinterpret_cast<uintptr_t>(memory_.data()) % kAlignmentBytes;
    const auto place = [&](const SegmentLayout& segment) {
      const auto [first, last] = plan.BytesOf(segment, batch.begin_unit, batch.end_unit);
      const std::span<std::byte> area(memory_.data() + end, last - first);
      end += (area.size() / kAlignmentBytes + 2) * kAlignmentBytes;
      return area;
    };
    for (size_t i = 0; i < pass.inputs.size(); ++i) {
      if (pass.inputs[i].whole_tensor()) continue;
      const auto area = place(pass.inputs[i]);
      std::memcpy(area.data(), batch.inputs[i], area.size());
      there.inputs[i] = area.data();
    }
    std::vector<std::span<std::byte>> outputs;
    for (size_t i = 0; i < pass.outputs.size(); ++i) {
      outputs.push_back(pass.outputs[i].whole_tensor() ? std::span<std::byte>() : place(pass.outputs[i]));
      if (!outputs[i].empty()) there.outputs[i] = outputs[i].data();
    }
    EXPECT_LE(end, memory_.size());
    auto result = backend_->Run(plan, there, cancelled);
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (outputs[i].empty()) continue;
      const std::span<const std::byte> behind(outputs[i].data() + outputs[i].size(), kAlignmentBytes);
      EXPECT_TRUE(std::ranges::all_of(behind, [](std::byte b) { return b == kGuard; })) << pass.outputs[i].name;
      std::memcpy(batch.outputs[i], outputs[i].data(), outputs[i].size());
    }
    return result;
  }

 private:
  Bytes memory_;
  RegisteredMemory registered_;
  std::unique_ptr<Backend> backend_;
};

// In so many pieces, which are one launch.
class InPlace : public ::testing::TestWithParam<uint64_t> {
 protected:
  void SetUp() override {
    if (CudaDeviceCount() == 0) GTEST_SKIP() << "this machine has no GPU that CUDA sees";
    backend_ = std::make_unique<InRegisteredMemory>(GetParam());
  }

  std::unique_ptr<Backend> cpu_ = MakeCpuBackend();
  std::unique_ptr<Backend> backend_;
};

TEST_P(InPlace, SmallBatchesOfEveryPresetHaveTheBytesOfTheCpu) {
  std::mt19937_64 random = MakeRandom(17);
  for (const PresetInfo& preset : AllPresets()) {
    for (const std::vector<uint64_t>& shape : std::vector<std::vector<uint64_t>>{{8, 512}, {24, 256}, {40, 1024}}) {
      const SchemeRequest request{preset.name};
      const Bytes values = Narrowed(RandomTensor(random, shape[0] * shape[1], 64), DataType::kBFloat16);
      const auto scheme = ResolveScheme(request);
      const auto plan = MakePlan(*scheme, Direction::kQuantize, DataType::kBFloat16, shape, {});
      if (!plan.ok()) continue;  // a shape that is not this preset's
      SCOPED_TRACE(preset.name + " " + ::testing::PrintToString(shape));
      const TensorRun expected = RunTensor(*cpu_, *plan, {{"values", values}});
      const TensorRun made = RunTensor(*backend_, *plan, {{"values", values}}, 1 + random() % plan->unit_count());
      EXPECT_EQ(made.outputs, expected.outputs);
      EXPECT_EQ(made.result.range.amax, expected.result.range.amax);
      const Plan back = PlanOrDie(FullyResolved(plan->scheme), Direction::kDequantize, DataType::kFloat32, shape);
      EXPECT_EQ(RunTensor(*backend_, back, expected.outputs).outputs, RunTensor(*cpu_, back, expected.outputs).outputs);
      if (HasFailure()) return;
    }
  }
}

TEST_P(InPlace, WhatABatchFindsIsItsOwn) {
  for (const float largest : {8.0f, 2.0f, 4.0f}) {
    std::vector<float> values(4096, 1.0f);
    values[1234] = largest;
    values[99] = -largest / 2;
    const Plan plan = PlanOrDie({"int4-asym"}, Direction::kQuantize, DataType::kFloat32, {8, 512});
    const BatchResult result = RunTensor(*backend_, plan, {{"values", BytesOf(values)}}).result;
    EXPECT_EQ(result.range.amax, largest);
    EXPECT_EQ(result.range.highest, largest);
    EXPECT_EQ(result.range.lowest, -largest / 2);
  }
}

INSTANTIATE_TEST_SUITE_P(Pieces, InPlace, ::testing::Values(1, 5));

}  // namespace
}  // namespace quantd::testing
