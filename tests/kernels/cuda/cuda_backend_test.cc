// What the GPU does itself; that its bytes are right is for tests/conformance.
#include "kernels/cuda/cuda_backend.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <thread>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/format/dynamic8.h"
#include "kernels/format/fp4_bnb.h"
#include "kernels/format/nf4.h"
#include "tests/kernels/cuda/device_arithmetic.h"
#include "tests/support/every_backend.h"
#include "tests/support/scheme_check.h"
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

// The presets that it has kernels for: in one pass if the statistics are given, and in two without.
std::vector<std::pair<std::string, KnownStatistics>> PresetsOfTheGpu() {
  std::vector<std::pair<std::string, KnownStatistics>> presets;
  for (const PresetInfo& preset : AllPresets()) {
    const Scheme scheme = ResolveScheme({preset.name, {}, 0}).value();
    if (scheme.arithmetic == Arithmetic::kGgml) continue;
    presets.emplace_back(preset.name, KnownStatistics{});
    if (scheme.grouping != Grouping::kTensor && scheme.scale_dtype != ScaleDtype::kE4m3) continue;
    presets.emplace_back(preset.name, KnownStatistics{.amax = 8});
  }
  return presets;
}

// Their requests with other runs and double quantization.
std::vector<SchemeRequest> RequestsOfTheGpu() {
  std::vector<SchemeRequest> requests;
  const auto add = [&](const std::string& preset, std::map<std::string, std::string> overrides) {
    SchemeRequest request{preset, std::move(overrides), 0};
    if (ResolveScheme(request).ok()) requests.push_back(std::move(request));
  };
  for (const auto& [preset, _] : PresetsOfTheGpu()) {
    add(preset, {});
    for (const char* const rule : {"ceil", "even", "rceil"}) add(preset, {{"scale_rule", rule}});
    for (const char* const code : {"dynamic8", "e4m3"}) add(preset, {{"double_quant", "true"}, {"nested_code", code}});
    add(preset, {{"scale_dtype", "none"}, {"grouping", "none"}});
    for (const char* const size : {"16", "32", "64", "128", "256", "512", "1024", "2048", "4096"}) {
      add(preset, {{"block_size", size}, {"grouping", "block"}});
      add(preset, {{"block_size", size}});
    }
    for (const char* const size : {"16", "128"}) {
      for (const char* const dtype : {"float16", "bfloat16", "float32"}) {
        add(preset, {{"group_size", size}, {"grouping", "group"}, {"scale_dtype", dtype}});
        add(preset, {{"grouping", "channel"}, {"scale_dtype", dtype}});
        add(preset, {{"tile_rows", size}, {"tile_cols", "64"}, {"grouping", "tile"}, {"scale_dtype", dtype}});
      }
    }
  }
  return requests;
}

// Finite values where fast ways may go wrong, 16 of a kind one after another: any bits, thresholds of codes and what is
// next to them beside a 1 that makes them so, zeros, subnormals, one value among zeros.
Bytes HardValues(std::mt19937_64& random, uint64_t count, DataType dtype) {
  std::vector<float> thresholds(std::begin(kNf4Thresholds), std::end(kNf4Thresholds));
  thresholds.insert(thresholds.end(), std::begin(kFp4BnbThresholds), std::end(kFp4BnbThresholds));
  thresholds.insert(thresholds.end(), kDynamic8Boundaries.begin(), kDynamic8Boundaries.end());
  for (const float midpoint : {0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5.0f}) thresholds.push_back(midpoint / 6);
  std::vector<float> values(count);
  for (uint64_t begin = 0; begin < count; begin += 16) {
    const uint64_t kind = random() % 8;
    const float power = std::ldexp(1.0f, static_cast<int>(random() % 64) - 32);
    for (uint64_t i = begin; i < std::min(begin + 16, count); ++i) {
      const auto bits = static_cast<uint32_t>(random());
      const float any = std::bit_cast<float>(bits);
      const float threshold = thresholds[random() % thresholds.size()];
      const float near = std::bit_cast<float>(std::bit_cast<uint32_t>(threshold) + static_cast<uint32_t>(bits % 5) - 2);
      switch (kind) {
        case 0:
          values[i] = any;
          break;
        case 1:
          values[i] = std::copysign(0.0f, any);
          break;
        case 2:
          values[i] = std::bit_cast<float>(bits & 0x807fffffu);
          break;
        case 3:
          values[i] = i == begin + bits % 16 ? any : 0.0f;
          break;
        case 4:
          values[i] = std::ldexp(std::nearbyint(std::ldexp(near, 9)), -8) * power;
          break;
        default:
          values[i] = (i == begin ? 1.0f : std::copysign(near, any)) * power;
      }
    }
  }
  const float largest = dtype == DataType::kFloat16 ? 65504.0f : 0x1.fep127f;
  for (float& value : values) value = value == value ? std::clamp(value, -largest, largest) : 1.0f;
  return Narrowed(values, dtype);
}

TEST_F(CudaBackendTest, FusedKernelsMakeTheBytesOfTheGenericOnes) {
  const auto generic = MakeBackend("cuda_generic");
  const auto together = MakeBackend("cuda_together");
  std::mt19937_64 random = MakeRandom(20261127);
  for (const SchemeRequest& request : RequestsOfTheGpu()) {
    for (const std::vector<uint64_t>& shape :
         std::vector<std::vector<uint64_t>>{{100, 4096}, {33, 8192}, {77, 768}, {9, 14336}, {333, 272}, {8, 130}}) {
      const Scheme scheme = ResolveScheme(request).value();
      if (scheme.grouping == Grouping::kGroup && shape[1] % scheme.group_size != 0) continue;
      const DataType dtype = kFloatTypes[random() % std::size(kFloatTypes)];
      SCOPED_TRACE(Text(request) + " " + std::string(InfoOf(dtype).name) + " " + ::testing::PrintToString(shape));
      const Bytes values = HardValues(random, shape[0] * shape[1], dtype);
      const Plan plan = PlanOrDie(request, Direction::kQuantize, dtype, shape);
      const uint64_t units = 1 + random() % plan.unit_count();
      const TensorRun expected = RunTensor(*generic, plan, {{"values", values}}, units);
      for (Backend* const fused : {backend_.get(), together.get()}) {
        const TensorRun fast = RunTensor(*fused, plan, {{"values", values}}, units);
        EXPECT_EQ(fast.result.range.amax, expected.result.range.amax);
        for (const auto& [name, bytes] : expected.outputs) {
          const auto [at, _] = std::ranges::mismatch(fast.outputs.at(name), bytes);
          EXPECT_EQ(at - fast.outputs.at(name).begin(), static_cast<std::ptrdiff_t>(bytes.size())) << name;
        }
      }
      for (const DataType restored : kFloatTypes) {
        const Plan back = PlanOrDie(FullyResolved(plan.scheme), Direction::kDequantize, restored, shape);
        const SegmentBytes values_again = RunTensor(*generic, back, expected.outputs).outputs;
        EXPECT_TRUE(RunTensor(*backend_, back, expected.outputs).outputs == values_again) << InfoOf(restored).name;
        EXPECT_TRUE(RunTensor(*together, back, expected.outputs, units).outputs == values_again)
            << InfoOf(restored).name;
      }
      if (HasFailure()) return;
    }
  }
}

TEST_F(CudaBackendTest, LeavesNoFiniteBatchOfAPresetToTheCpu) {
  std::mt19937_64 random = MakeRandom(11);
  const std::vector<float> values = RandomTensor(random, 256 * kColumns, 64);
  for (const auto& [preset, known] : PresetsOfTheGpu()) {
    ThereAndBack({preset, {}, 0}, values, known);
    EXPECT_EQ(calls_.exchange(0), 0) << preset;
  }
  ThereAndBack({"bnb-nf4", {{"double_quant", "true"}}, 0}, values, {});
  ThereAndBack({"bnb-nf4", {{"double_quant", "true"}}, 0}, values, {.offset = 1});
  EXPECT_EQ(calls_.load(), 0);
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

TEST_F(CudaBackendTest, DividesAsIeeeDoes) {
  EXPECT_EQ(WrongReciprocals(), 0u);
  std::mt19937_64 random = MakeRandom(19);
  // The largest codes and steps of all elements, then what an NVFP4 tensor may have as its scale.
  for (const float divisor : {1.0f, 6.0f, 7.0f, 7.5f, 15.0f, 16.0f, 127.0f, 127.5f, 255.0f, 448.0f, 57344.0f}) {
    EXPECT_EQ(WrongQuotients(divisor, 0x1p-60f, 0x1.fep127f), 0u) << divisor;
  }
  for (int i = 0; i < 50; ++i) {
    const auto bits = static_cast<uint32_t>(random());
    const float divisor = std::ldexp(std::bit_cast<float>(127u << 23 | bits >> 9), static_cast<int>(bits % 120) - 60);
    EXPECT_EQ(WrongQuotients(divisor, 0x1p-9f, 448.0f), 0u) << divisor;
  }
}

TEST_F(CudaBackendTest, RoundsQuotientsOf16BitFloatsAsIeeeDoes) {
  for (const DataType values : {DataType::kBFloat16, DataType::kFloat16}) {
    for (const DataType scale : {DataType::kBFloat16, DataType::kFloat16}) {
      for (const int bits : {4, 8}) EXPECT_EQ(WrongZeroPointCodes(values, scale, bits), 0u) << bits;
    }
  }
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
