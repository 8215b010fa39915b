// Batches of different tensors that are computed together: each has its own scales, findings and outcome.
#include <gtest/gtest.h>

#include <cmath>
#include <deque>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cuda/cuda_backend.h"
#include "tests/support/tensor_runner.h"

namespace quantd::testing {
namespace {

// What makes one pass of two.
KnownStatistics KnownFor(const SchemeRequest& request, float amax) {
  const Scheme scheme = ResolveScheme(request).value();
  if (scheme.double_quant) return {.offset = amax / 2};
  if (scheme.grouping == Grouping::kTensor || scheme.scale_dtype == ScaleDtype::kE4m3) return {.amax = amax};
  return {};
}

// A tensor as one batch, and room for what comes of it.
class WholeTensor {
 public:
  WholeTensor(const SchemeRequest& scheme, const std::vector<uint64_t>& shape, std::vector<float> values, float amax)
      : values_(std::move(values)),
        plan_(PlanOrDie(scheme, Direction::kQuantize, DataType::kFloat32, shape, KnownFor(scheme, amax))) {
    batch_ = {.end_unit = plan_.unit_count(),
              .parameters = ParametersOf(plan_, {.amax = amax, .lowest = -amax, .highest = amax}, 0)};
    batch_.inputs[0] = reinterpret_cast<const std::byte*>(values_.data());
    const std::vector<SegmentLayout>& outputs = plan_.passes.front().outputs;
    for (size_t i = 0; i < outputs.size(); ++i) {
      outputs_.emplace_back(outputs[i].whole_tensor() ? 0 : outputs[i].bytes);
      if (!outputs[i].whole_tensor()) batch_.outputs[i] = outputs_[i].data();
    }
  }

  BatchRun Run() const { return {plan_, batch_, cancelled}; }
  const std::deque<Bytes>& outputs() const { return outputs_; }

  std::atomic<bool> cancelled = false;

 private:
  std::vector<float> values_;
  Plan plan_;
  UnitBatch batch_;
  std::deque<Bytes> outputs_;
};

class Together : public ::testing::Test {
 protected:
  void SetUp() override {
    if (CudaDeviceCount() == 0) GTEST_SKIP() << "this machine has no GPU that CUDA sees";
    backend_ = MakeCudaBackend(0, MakeCpuBackend()).value();
  }

  // Tensor number `i` has values up to 2^(i % 13 - 6).
  static void Add(std::deque<WholeTensor>& tensors, const SchemeRequest& scheme, const std::vector<uint64_t>& shape) {
    std::mt19937_64 random(tensors.size());
    const float amax = std::ldexp(1.0f, static_cast<int>(tensors.size() % 13) - 6);
    std::vector<float> values(shape[0] * shape[1]);
    for (float& value : values) value = amax * static_cast<float>(random() % 2001) / 1000 - amax;
    values[random() % values.size()] = amax;
    tensors.emplace_back(scheme, shape, std::move(values), amax);
  }
  static std::vector<BatchRun> RunsOf(const std::deque<WholeTensor>& tensors) {
    std::vector<BatchRun> runs;
    for (const WholeTensor& tensor : tensors) runs.push_back(tensor.Run());
    return runs;
  }

  std::unique_ptr<Backend> backend_;
};

TEST_F(Together, EachTensorHasItsOwnScalesAndFindings) {
  for (const SchemeRequest& scheme :
       {SchemeRequest{"bnb-nf4"}, SchemeRequest{"bnb-nf4", {{"double_quant", "true"}}}, SchemeRequest{"ct-nvfp4"},
        SchemeRequest{"ct-fp8"}, SchemeRequest{"ct-w4a16-asym"}, SchemeRequest{"int8"}, SchemeRequest{"bnb-int8"},
        SchemeRequest{"int4-asym"}, SchemeRequest{"mxfp8-e4m3"}}) {
    SCOPED_TRACE(scheme.preset);
    std::deque<WholeTensor> of_gpu;
    std::deque<WholeTensor> of_cpu;
    for (uint64_t i = 0; i < 40; ++i) {
      const std::vector<uint64_t> shape = {8 * (1 + i % 7), i % 5 == 4 ? 4096u : 1024u};
      Add(of_gpu, scheme, shape);
      Add(of_cpu, scheme, shape);
    }
    std::vector<BatchRun> made = RunsOf(of_gpu);
    std::vector<BatchRun> expected = RunsOf(of_cpu);
    backend_->RunTogether(made);
    MakeCpuBackend()->RunTogether(expected);
    for (size_t i = 0; i < made.size(); ++i) {
      ASSERT_TRUE(made[i].result.ok()) << made[i].result.status();
      EXPECT_EQ(of_gpu[i].outputs(), of_cpu[i].outputs()) << i;
      EXPECT_EQ(made[i].result->range.amax, expected[i].result->range.amax) << i;
      EXPECT_EQ(made[i].result->range.lowest, expected[i].result->range.lowest) << i;
    }
  }
}

TEST_F(Together, DifferentSchemesNeedNotBeAlike) {
  std::deque<WholeTensor> of_gpu;
  std::deque<WholeTensor> of_cpu;
  for (const PresetInfo& preset : AllPresets()) {
    if (preset.name.starts_with("ggml")) continue;
    Add(of_gpu, {preset.name}, {256, 1024});
    Add(of_cpu, {preset.name}, {256, 1024});
  }
  std::vector<BatchRun> made = RunsOf(of_gpu);
  std::vector<BatchRun> expected = RunsOf(of_cpu);
  backend_->RunTogether(made);
  MakeCpuBackend()->RunTogether(expected);
  for (size_t i = 0; i < made.size(); ++i) {
    ASSERT_TRUE(made[i].result.ok()) << made[i].result.status();
    EXPECT_EQ(of_gpu[i].outputs(), of_cpu[i].outputs()) << made[i].plan.scheme.preset;
  }
}

TEST_F(Together, WhatIsCancelledOrNotFiniteIsNoMatterOfTheOthers) {
  std::deque<WholeTensor> tensors;
  const auto add = [&](float value) {
    tensors.emplace_back(SchemeRequest{"nf4"}, std::vector<uint64_t>{8, 1024}, std::vector<float>(8192, value), 1.0f);
  };
  for (const float value : {1.0f, NAN, 2.0f, 3.0f}) add(value);
  tensors[2].cancelled = true;
  std::vector<BatchRun> runs = RunsOf(tensors);
  backend_->RunTogether(runs);
  EXPECT_EQ(runs[0].result->range.amax, 1.0f);
  EXPECT_EQ(runs[1].result->nonfinite_count, 8192u);
  EXPECT_EQ(runs[2].result.status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(runs[3].result->range.amax, 3.0f);
}

}  // namespace
}  // namespace quantd::testing
