// Every preset's bytes of the GPU beside the CPU's, on more than 10^9 values each. Minutes on 16 cores, so only on
// demand: --gtest_also_run_disabled_tests --gtest_filter='*EveryByte*', or '*EveryByte*int4*'.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstdio>
#include <random>
#include <thread>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cuda/cuda_backend.h"
#include "tests/support/scheme_check.h"
#include "tests/support/tensor_runner.h"

namespace quantd::testing {
namespace {

constexpr uint64_t kRows = 4096;
constexpr uint64_t kColumns = 4096;
constexpr uint64_t kTensors = 64;
static_assert(kRows * kColumns * kTensors > 1'000'000'000);

// Finite values of like size in each 64, sizes from 2^-20 to 2^19; one in 64 has any exponent.
Bytes RandomValues(uint64_t seed, DataType dtype) {
  std::mt19937_64 random(seed);
  std::vector<float> values(kRows * kColumns);
  const int largest_exponent = dtype == DataType::kFloat16 ? 13 : 100;
  for (uint64_t i = 0; i < values.size(); i += 2) {
    const uint64_t bits = random();
    const auto power = std::ldexp(1.0f, static_cast<int>((i / 64 * 0x9e3779b97f4a7c15u + seed) >> 58) * 40 / 64 - 20);
    for (uint64_t k = 0; k < 2; ++k) {
      const auto word = static_cast<uint32_t>(bits >> (32 * k));
      const float value = static_cast<float>(static_cast<int32_t>(word)) * 0x1p-31f;
      const bool is_any = (i + k) % 64 == seed % 64;
      values[i + k] = is_any ? std::ldexp(value, static_cast<int>(word % 200) - 100) : value * power;
      if (std::abs(values[i + k]) > std::ldexp(1.0f, largest_exponent)) values[i + k] = value;
    }
  }
  return Narrowed(values, dtype);
}

class EveryByte : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (CudaDeviceCount() == 0) GTEST_SKIP() << "this machine has no GPU that CUDA sees";
  }

  static uint64_t Differing(const SegmentBytes& made, const SegmentBytes& expected) {
    uint64_t count = 0;
    for (const auto& [name, bytes] : expected) {
      const auto& others = made.at(name);
      if (others.size() != bytes.size()) return ~0ull;
      for (size_t i = 0; i < bytes.size(); ++i) count += bytes[i] != others[i] ? 1 : 0;
    }
    return count;
  }

  // Bytes that differ, of one tensor there and back.
  uint64_t DifferingOf(const std::string& preset, uint64_t seed) const {
    const DataType dtype = kFloatTypes[seed % std::size(kFloatTypes)];
    const std::vector<uint64_t> shape = {kRows, kColumns};
    const Plan plan = PlanOrDie({preset, {}, 0}, Direction::kQuantize, dtype, shape);
    const Plan back = PlanOrDie(FullyResolved(plan.scheme), Direction::kDequantize, dtype, shape);
    const SegmentBytes values = {{"values", RandomValues(seed, dtype)}};
    const SegmentBytes expected = RunTensor(*cpu_, plan, values).outputs;
    const SegmentBytes restored = RunTensor(*cpu_, back, expected).outputs;
    uint64_t count = 0;
    for (Backend* const backend : {fused_.get(), generic_.get()}) {
      count += Differing(RunTensor(*backend, plan, values).outputs, expected);
      count += Differing(RunTensor(*backend, back, expected).outputs, restored);
    }
    return count;
  }

  std::unique_ptr<Backend> cpu_ = MakeCpuBackend("auto").value();
  std::unique_ptr<Backend> fused_ = CudaDeviceCount() > 0 ? MakeCudaBackend(0, MakeCpuBackend()).value() : nullptr;
  std::unique_ptr<Backend> generic_ =
      CudaDeviceCount() > 0 ? MakeCudaBackend(0, MakeCpuBackend(), {.kernels = CudaKernels::kGeneric}).value()
                            : nullptr;
};

TEST_P(EveryByte, DISABLED_IsTheCpus) {
  const std::string& preset = GetParam();
  std::atomic<uint64_t> next = 0;
  std::atomic<uint64_t> differing = 0;
  {
    std::vector<std::jthread> threads;
    for (unsigned i = 0; i < std::thread::hardware_concurrency(); ++i) {
      threads.emplace_back([&] {
        for (uint64_t seed = next++; seed < kTensors; seed = next++) differing += DifferingOf(preset, seed);
      });
    }
  }
  std::printf("%s: %llu bytes differ, of %llu values, fused and generic, there and back\n", preset.c_str(),
              static_cast<unsigned long long>(differing.load()),
              static_cast<unsigned long long>(kRows * kColumns * kTensors));
  std::fflush(stdout);
  EXPECT_EQ(differing.load(), 0u);
}

std::vector<std::string> PresetsWithKernels() {
  std::vector<std::string> names;
  for (const PresetInfo& preset : AllPresets()) {
    const auto scheme = ResolveScheme({preset.name, {}, 0});
    if (scheme.ok() && scheme->arithmetic != Arithmetic::kGgml) names.emplace_back(preset.name);
  }
  return names;
}

INSTANTIATE_TEST_SUITE_P(OfEveryPreset, EveryByte, ::testing::ValuesIn(PresetsWithKernels()), [](const auto& info) {
  std::string name = info.param;
  std::ranges::replace(name, '-', '_');
  return name;
});

}  // namespace
}  // namespace quantd::testing
