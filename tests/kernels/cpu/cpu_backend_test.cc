#include "kernels/cpu/cpu_backend.h"

#include <gtest/gtest.h>
#include <xmmintrin.h>

#include <cmath>
#include <limits>

#include "kernels/base/error.h"
#include "kernels/base/error_reason.h"
#include "kernels/cpu/kernel_table.h"
#include "tests/support/tensor_runner.h"

namespace quantd::testing {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kLargest = std::numeric_limits<float>::max();

std::vector<float> Filled(uint64_t count, float value) { return std::vector<float>(count, value); }

// On every instruction set; all must agree.
TensorRun Quantize(const SchemeRequest& request, const std::vector<float>& values,
                   DataType dtype = DataType::kFloat32) {
  const Plan plan = PlanOrDie(request, Direction::kQuantize, dtype, {values.size()});
  const auto scalar = MakeCpuBackend(kBaselineKernels);
  TensorRun expected = RunTensor(*scalar, plan, {{"values", Narrowed(values, dtype)}});
  for (const KernelTable* const kernels : SupportedKernels()) {
    const auto backend = MakeCpuBackend(*kernels);
    const TensorRun run = RunTensor(*backend, plan, {{"values", Narrowed(values, dtype)}});
    EXPECT_EQ(run.outputs, expected.outputs) << kernels->target;
    EXPECT_EQ(run.result.range.amax, expected.result.range.amax) << kernels->target;
    EXPECT_EQ(run.result.nonfinite_count, expected.result.nonfinite_count) << kernels->target;
    EXPECT_EQ(run.result.first_nonfinite_element, expected.result.first_nonfinite_element) << kernels->target;
  }
  return expected;
}

std::vector<float> Dequantize(const SchemeRequest& request, const SegmentBytes& segments, uint64_t count,
                              DataType dtype = DataType::kFloat32) {
  const auto backend = MakeCpuBackend();
  const Plan plan = PlanOrDie(request, Direction::kDequantize, dtype, {count});
  return Widened(RunTensor(*backend, plan, segments).outputs.at("values"), dtype);
}

float ScaleOf(const TensorRun& run, size_t block = 0) { return ValuesOf<float>(run.outputs.at("scales"))[block]; }
int CodeOf(const TensorRun& run, size_t element) {
  const int byte = static_cast<int>(run.outputs.at("codes")[element / 2]);
  return element % 2 == 0 ? byte >> 4 : byte & 15;
}

TEST(ZeroBlock, GetsCode0FromBitsandbytesAndCode7FromStrict) {
  const TensorRun library = Quantize({"bnb-nf4", {}, 0}, Filled(64, -0.0f));
  EXPECT_EQ(library.outputs.at("codes"), Bytes(32, std::byte{0x00}));
  EXPECT_EQ(ScaleOf(library), 0.0f);
  const TensorRun strict = Quantize({"nf4", {}, 0}, Filled(64, -0.0f));
  EXPECT_EQ(strict.outputs.at("codes"), Bytes(32, std::byte{0x77}));
  EXPECT_EQ(std::bit_cast<uint32_t>(ScaleOf(strict)), 0u);
  EXPECT_EQ(Dequantize({"nf4", {}, 0}, strict.outputs, 64), Filled(64, 0.0f));
}

TEST(SubnormalBlock, IsAZeroBlockToBitsandbytesAndKeptByStrict) {
  const TensorRun library = Quantize({"bnb-nf4", {}, 0}, Filled(64, 0x1p-130f));
  EXPECT_EQ(ScaleOf(library), 0.0f);
  EXPECT_EQ(CodeOf(library, 0), 0);
  EXPECT_EQ(library.result.range.amax, 0x1p-130f);
  const TensorRun strict = Quantize({"nf4", {}, 0}, Filled(64, 0x1p-130f));
  EXPECT_EQ(ScaleOf(strict), 0x1p-130f);
  EXPECT_EQ(CodeOf(strict, 0), 15);
  EXPECT_EQ(Dequantize({"nf4", {}, 0}, strict.outputs, 64), Filled(64, 0x1p-130f));
}

TEST(OddTensor, EndsInTheCodeOfAZero) {
  EXPECT_EQ(Quantize({"bnb-nf4", {}, 0}, {1.0f}).outputs.at("codes"), Bytes(1, std::byte{0xf7}));
  EXPECT_EQ(Quantize({"bnb-nf4", {}, 0}, {0.0f}).outputs.at("codes"), Bytes(1, std::byte{0x00}));
  EXPECT_EQ(Quantize({"bnb-fp4", {}, 0}, {1.0f}).outputs.at("codes"), Bytes(1, std::byte{0x30}));
  EXPECT_EQ(Quantize({"nf4", {}, 0}, {0.0f}).outputs.at("codes"), Bytes(1, std::byte{0x77}));
}

TEST(Reject, CountsNonfiniteValuesAndNamesTheFirst) {
  std::vector<float> values = Filled(40000, 1.0f);
  values[39999] = kNan;
  values[20001] = -kInfinity;
  values[20003] = 5.0f;
  for (const DataType dtype : {DataType::kFloat32, DataType::kFloat16, DataType::kBFloat16}) {
    const TensorRun run = Quantize({"bnb-nf4", {}, 0}, values, dtype);
    EXPECT_EQ(run.result.nonfinite_count, 2u);
    EXPECT_EQ(run.result.first_nonfinite_element, 20001u);
    EXPECT_EQ(run.result.range.amax, 5.0f);
  }
}

TEST(Reject, FindsNothingInFiniteValues) {
  const TensorRun run = Quantize({"bnb-nf4", {}, 0}, Filled(100, -kLargest));
  EXPECT_EQ(run.result.nonfinite_count, 0u);
  EXPECT_EQ(run.result.first_nonfinite_element, UINT64_MAX);
  EXPECT_EQ(run.result.range.amax, kLargest);
}

TEST(Saturate, TakesNanAsZeroAndInfinityAsTheLargestOfItsType) {
  std::vector<float> special = Filled(64, 0.25f);
  special[0] = kNan;
  special[1] = -kNan;
  special[2] = kInfinity;
  special[3] = -kInfinity;
  for (const auto& [dtype, largest] :
       {std::pair{DataType::kFloat32, kLargest}, {DataType::kFloat16, 65504.0f}, {DataType::kBFloat16, 0x1.fep127f}}) {
    std::vector<float> finite = special;
    finite[0] = finite[1] = 0.0f;
    finite[2] = largest;
    finite[3] = -largest;
    for (const char* const preset : {"bnb-nf4", "bnb-fp4", "nf4"}) {
      const TensorRun run = Quantize({preset, {{"nonfinite", "saturate"}}, 0}, special, dtype);
      EXPECT_EQ(run.outputs, Quantize({preset, {}, 0}, finite, dtype).outputs);
      EXPECT_EQ(run.result.nonfinite_count, 4u);
      EXPECT_EQ(run.result.range.amax, 0.25f);
    }
  }
}

TEST(Library, SkipsNanInAbsmaxAndGivesItCode0) {
  std::vector<float> values = Filled(64, 1.0f);
  values[5] = kNan;
  const TensorRun run = Quantize({"bnb-nf4", {{"nonfinite", "library"}}, 0}, values);
  EXPECT_EQ(ScaleOf(run), 1.0f);
  EXPECT_EQ(CodeOf(run, 5), 0);
  EXPECT_EQ(CodeOf(run, 4), 15);
}

TEST(Library, StoresTheMostNegativeNumberForABlockOfNan) {
  const TensorRun full = Quantize({"bnb-nf4", {{"nonfinite", "library"}}, 0}, Filled(64, kNan));
  EXPECT_EQ(ScaleOf(full), -kLargest);
  EXPECT_EQ(full.outputs.at("codes"), Bytes(32, std::byte{0}));
  const TensorRun padded = Quantize({"bnb-nf4", {{"nonfinite", "library"}}, 0}, Filled(63, kNan));
  EXPECT_EQ(ScaleOf(padded), 0.0f);
}

TEST(Dequantize, MakesTheCanonicalNanOfEveryNan) {
  std::vector<float> values = Filled(64, 1.0f);
  values[0] = kInfinity;
  const SchemeRequest request{"bnb-nf4", {{"nonfinite", "library"}}, 0};
  const TensorRun run = Quantize(request, values);
  EXPECT_EQ(ScaleOf(run), kInfinity);
  for (const KernelTable* const kernels : SupportedKernels()) {
    const auto backend = MakeCpuBackend(*kernels);
    for (const DataType dtype : {DataType::kFloat32, DataType::kFloat16, DataType::kBFloat16}) {
      const Plan plan = PlanOrDie(request, Direction::kDequantize, dtype, {64});
      const Bytes bytes = RunTensor(*backend, plan, run.outputs).outputs.at("values");
      // Finite elements have code 7: 0 · infinity.
      if (dtype == DataType::kFloat32) {
        EXPECT_EQ(ValuesOf<uint32_t>(bytes)[1], 0x7fffffffu) << kernels->target;
      } else {
        EXPECT_EQ(ValuesOf<uint16_t>(bytes)[1], 0x7fffu) << kernels->target;
      }
    }
  }
}

TEST(DoubleQuantization, OfOneBlockRestoresTheOffsetExactly) {
  const SchemeRequest request{"bnb-nf4", {{"double_quant", "true"}}, 0};
  const TensorRun run = Quantize(request, Filled(64, 0.3f));
  EXPECT_EQ(ValuesOf<float>(run.outputs.at("offset")).front(), 0.3f);
  EXPECT_EQ(run.outputs.at("scales"), Bytes(1, std::byte{0}));
  EXPECT_EQ(ValuesOf<float>(run.outputs.at("nested_scales")).front(), 0.0f);
  EXPECT_EQ(Dequantize(request, run.outputs, 64), Filled(64, 0.3f));
}

TEST(DoubleQuantization, PadsAShortNestedBlockWithZerosAsTheLibraryDoes) {
  std::vector<float> values = Filled(64, 1.0f);
  values[0] = kInfinity;
  const TensorRun run = Quantize({"bnb-nf4", {{"double_quant", "true"}, {"nonfinite", "library"}}, 0}, values);
  // The only difference is infinity - infinity: NaN, which the nested absmax passes over.
  EXPECT_EQ(ValuesOf<float>(run.outputs.at("offset")).front(), kInfinity);
  EXPECT_EQ(ValuesOf<float>(run.outputs.at("nested_scales")).front(), 0.0f);
  EXPECT_EQ(run.outputs.at("scales"), Bytes(1, std::byte{0}));
}

TEST(DoubleQuantization, IsTheSameWithTheComputedOffsetGiven) {
  constexpr uint64_t kSeed = 3;
  auto random = MakeRandom(kSeed);
  const auto values = RandomTensor(random, 64 * 300 + 5, 64);
  const SchemeRequest request{"bnb-nf4", {{"double_quant", "true"}}, 0};
  TensorRun computed = Quantize(request, values);
  const float offset = ValuesOf<float>(computed.outputs.at("offset")).front();
  const auto backend = MakeCpuBackend();
  const Plan known = PlanOrDie(request, Direction::kQuantize, DataType::kFloat32, {values.size()}, {.offset = offset});
  computed.outputs.erase("spooled_scales");
  EXPECT_EQ(RunTensor(*backend, known, {{"values", BytesOf(values)}}).outputs, computed.outputs) << "seed " << kSeed;
}

TEST(CpuBackend, StopsWhenCancelled) {
  const auto backend = MakeCpuBackend();
  const Plan plan = PlanOrDie({"bnb-nf4", {}, 0}, Direction::kQuantize, DataType::kFloat32, {64});
  const std::vector<float> values = Filled(64, 1.0f);
  Bytes codes(32);
  Bytes scales(4);
  UnitBatch batch{.end_unit = 1};
  batch.inputs[0] = reinterpret_cast<const std::byte*>(values.data());
  batch.outputs[0] = codes.data();
  batch.outputs[1] = scales.data();
  const std::atomic<bool> cancelled = true;
  EXPECT_EQ(backend->Run(plan, batch, cancelled).status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(codes, Bytes(32));
}

TEST(CpuBackend, IgnoresAndRestoresTheCallersFloatModes) {
  constexpr unsigned kRoundUpFlushToZero = 0x1f80 | 0x4000 | 0x8040;
  std::vector<float> values;
  for (int i = 0; i < 640; ++i) values.push_back(std::ldexp(0.7f + static_cast<float>(i % 97), -135));
  const auto backend = MakeCpuBackend();
  for (const char* const preset : {"bnb-nf4", "nf4"}) {
    const Plan plan = PlanOrDie({preset, {}, 0}, Direction::kQuantize, DataType::kFloat32, {values.size()});
    const TensorRun expected = RunTensor(*backend, plan, {{"values", BytesOf(values)}});
    const unsigned saved = _mm_getcsr();
    _mm_setcsr(kRoundUpFlushToZero);
    const TensorRun hostile = RunTensor(*backend, plan, {{"values", BytesOf(values)}});
    const unsigned after = _mm_getcsr();
    _mm_setcsr(saved);
    EXPECT_EQ(after & 0xffc0u, kRoundUpFlushToZero & 0xffc0u);
    EXPECT_EQ(hostile.outputs, expected.outputs);
  }
}

// Computes like the CPU and gets one bit wrong.
class WrongBackend final : public Backend {
 public:
  std::string_view target() const override { return "wrong"; }
  std::string_view name() const override { return "wrong"; }
  absl::StatusOr<BatchResult> Run(const Plan& plan, const UnitBatch& batch,
                                  const std::atomic<bool>& cancelled) override {
    auto result = right_->Run(plan, batch, cancelled);
    batch.outputs[0][100] ^= std::byte{1};
    return result;
  }

 private:
  std::unique_ptr<Backend> right_ = MakeCpuBackend();
};

TEST(SelfTest, PassesOnEveryInstructionSet) {
  for (const KernelTable* const kernels : SupportedKernels()) {
    const auto backend = MakeCpuBackend(*kernels);
    const absl::Status status = SelfTest(*backend);
    EXPECT_TRUE(status.ok()) << kernels->target << ": " << status;
  }
}

TEST(CpuTarget, IsTheLastOfTheSupportedOnes) {
  EXPECT_EQ(SupportedKernels().front()->target, "scalar");
  EXPECT_EQ(MakeCpuBackend()->target(), SupportedKernels().back()->target);
}

TEST(SelfTest, FailsOnABackendWithOneWrongBit) {
  WrongBackend backend;
  const absl::Status status = SelfTest(backend);
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(DetailsOf(status).reason, reason::kBackendFailed);
}

}  // namespace
}  // namespace quantd::testing
