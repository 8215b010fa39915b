// What the GPU does itself; that its bytes are right is for tests/conformance.
#include "kernels/cuda/cuda_backend.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "kernels/cpu/cpu_backend.h"
#include "tests/support/tensor_runner.h"

namespace quantd::testing {
namespace {

constexpr uint64_t kColumns = 512;

// Counts what the GPU has left to it.
class CountingBackend final : public Backend {
 public:
  explicit CountingBackend(std::atomic<int>& calls) : calls_(calls) {}
  std::string_view name() const override { return cpu_->name(); }
  std::string_view target() const override { return cpu_->target(); }
  absl::StatusOr<BatchResult> Run(const Plan& plan, const UnitBatch& batch,
                                  const std::atomic<bool>& cancelled) override {
    ++calls_;
    return cpu_->Run(plan, batch, cancelled);
  }

 private:
  std::atomic<int>& calls_;
  std::unique_ptr<Backend> cpu_ = MakeCpuBackend();
};

class CudaBackendTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (CudaDeviceCount() == 0) GTEST_SKIP() << "this machine has no GPU that CUDA sees";
    backend_ = MakeCudaBackend(0, std::make_unique<CountingBackend>(calls_)).value();
  }

  // Of bfloat16 values there and back, on what `backend_` is.
  SegmentBytes ThereAndBack(const SchemeRequest& request, const std::vector<float>& values,
                            const KnownStatistics& known) {
    const std::vector<uint64_t> shape = {values.size() / kColumns, kColumns};
    const Plan plan = PlanOrDie(request, Direction::kQuantize, DataType::kBFloat16, shape, known);
    SegmentBytes made = RunTensor(*backend_, plan, {{"values", Narrowed(values, DataType::kBFloat16)}}).outputs;
    const Plan back = PlanOrDie(FullyResolved(plan.scheme), Direction::kDequantize, DataType::kBFloat16, shape);
    made["restored"] = RunTensor(*backend_, back, made).outputs.at("values");
    return made;
  }

  std::atomic<int> calls_ = 0;
  std::unique_ptr<Backend> backend_;
};

// The presets that it has kernels for, with the statistics that make one pass of them.
std::vector<std::pair<std::string, KnownStatistics>> PresetsOfTheGpu() {
  std::vector<std::pair<std::string, KnownStatistics>> presets;
  for (const PresetInfo& preset : AllPresets()) {
    const Scheme scheme = ResolveScheme({preset.name, {}, 0}).value();
    if (scheme.arithmetic == Arithmetic::kGgml) continue;
    KnownStatistics known;
    if (scheme.grouping == Grouping::kTensor || scheme.scale_dtype == ScaleDtype::kE4m3) known.amax = 8;
    presets.emplace_back(preset.name, known);
  }
  return presets;
}

TEST_F(CudaBackendTest, LeavesNoFiniteBatchOfAPresetToTheCpu) {
  std::mt19937_64 random = MakeRandom(11);
  const std::vector<float> values = RandomTensor(random, 256 * kColumns, 64);
  for (const auto& [preset, known] : PresetsOfTheGpu()) {
    ThereAndBack({preset, {}, 0}, values, known);
    EXPECT_EQ(calls_.exchange(0), 0) << preset;
  }
}

TEST_F(CudaBackendTest, LeavesBatchesThatAreNotFiniteToTheCpu) {
  std::vector<float> values(512 * kColumns, 1.0f);
  values[77777] = NAN;
  const SchemeRequest request{"nf4", {{"nonfinite", "saturate"}}, 0};
  const SegmentBytes of_gpu = ThereAndBack(request, values, {});
  EXPECT_EQ(calls_.load(), 1);
  backend_ = MakeCpuBackend();
  EXPECT_EQ(of_gpu, ThereAndBack(request, values, {}));
}

TEST_F(CudaBackendTest, ManyThreadsMakeTheBytesOfOne) {
  std::mt19937_64 random = MakeRandom(13);
  const std::vector<float> values = RandomTensor(random, 1024 * kColumns, 64);
  const SegmentBytes expected = ThereAndBack({"bnb-nf4", {}, 0}, values, {});
  std::vector<SegmentBytes> made(8);
  {
    std::vector<std::jthread> threads;
    threads.reserve(made.size());
    for (SegmentBytes& one : made) {
      threads.emplace_back([&] { one = ThereAndBack({"bnb-nf4", {}, 0}, values, {}); });
    }
  }
  EXPECT_THAT(made, ::testing::Each(expected));
}

TEST_F(CudaBackendTest, ComputesTheKnownAnswers) { EXPECT_EQ(SelfTest(*backend_), absl::OkStatus()); }

TEST_F(CudaBackendTest, ACancelledBatchIsCancelled) {
  const Plan plan = PlanOrDie({"nf4", {}, 0}, Direction::kQuantize, DataType::kFloat32, {4096});
  const std::atomic<bool> cancelled = true;
  EXPECT_EQ(backend_->Run(plan, UnitBatch{.end_unit = plan.unit_count()}, cancelled).status().code(),
            absl::StatusCode::kCancelled);
}

TEST(CudaDevices, AnUnknownOneIsAnError) {
  EXPECT_EQ(MakeCudaBackend(CudaDeviceCount() + 7, MakeCpuBackend()).status().code(), absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace quantd::testing
