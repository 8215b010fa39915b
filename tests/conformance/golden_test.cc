// Every byte of the libraries' own output, on every backend.
#include <gtest/gtest.h>

#include "tests/support/every_backend.h"
#include "tests/support/golden_schemes.h"
#include "tests/support/tensor_runner.h"

namespace quantd::testing {
namespace {

KnownStatistics Known(const ReferenceStatistics& known) {
  return {.offset = known.offset,
          .amax = known.amax,
          .min = known.min,
          .max = known.max,
          .global_scale = known.global_scale};
}

class Golden : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { backend_ = MakeBackend(GetParam()); }

  // Bytes compared, all equal unless the test has failed.
  uint64_t Check(const std::string& file_name) {
    const GoldenFile file(file_name);
    uint64_t bytes = 0;
    for (const GoldenScheme& golden : GoldenSchemesOf(file, file_name)) {
      SCOPED_TRACE(file_name + " " + golden.key);
      if (!golden.input.empty()) bytes += CheckQuantize(file, golden);
      if (!golden.dequantized.empty()) bytes += CheckDequantize(file, golden);
      if (HasFatalFailure()) break;
    }
    return bytes;
  }

 private:
  uint64_t CheckQuantize(const GoldenFile& file, const GoldenScheme& golden) {
    const Plan plan = PlanOrDie({golden.preset, golden.overrides, 0}, Direction::kQuantize, golden.dtype, golden.shape,
                                Known(golden.known));
    const TensorRun run = RunTensor(*backend_, plan, {{"values", GoldenBytes(file, golden.input)}});
    uint64_t bytes = 0;
    for (const auto& [name, tensor] : golden.segments) {
      bytes += ExpectEqual(run.outputs.at(name), GoldenBytes(file, tensor), name);
    }
    return bytes;
  }

  uint64_t CheckDequantize(const GoldenFile& file, const GoldenScheme& golden) {
    const Plan plan =
        PlanOrDie({golden.preset, golden.overrides, 0}, Direction::kDequantize, golden.dequantized_dtype, golden.shape);
    SegmentBytes segments;
    for (const auto& [name, tensor] : golden.segments) segments[name] = GoldenBytes(file, tensor);
    return ExpectEqual(RunTensor(*backend_, plan, segments).outputs.at("values"), GoldenBytes(file, golden.dequantized),
                       "values");
  }

  static uint64_t ExpectEqual(const Bytes& actual, const Bytes& expected, const std::string& what) {
    EXPECT_EQ(actual.size(), expected.size()) << what;
    const auto [at, _] = std::ranges::mismatch(actual, expected);
    EXPECT_EQ(at - actual.begin(), static_cast<std::ptrdiff_t>(expected.size())) << what << ": first difference";
    return expected.size();
  }

  std::unique_ptr<Backend> backend_;
};

INSTANTIATE_TEST_SUITE_P(Targets, Golden, ::testing::ValuesIn(BackendNames()),
                         [](const auto& info) { return info.param; });

TEST_P(Golden, EqualsBitsandbytesNf4AndFp4) { EXPECT_EQ(Check("bnb_4bit"), 1'424'884u); }
TEST_P(Golden, EqualsBitsandbytesDoubleQuantWithItsOffset) { EXPECT_EQ(Check("bnb_double_quant"), 1'504'616u); }
TEST_P(Golden, EqualsBitsandbytesDynamic8AndLlmInt8) { EXPECT_EQ(Check("bnb_8bit"), 889'056u); }
TEST_P(Golden, EqualsBitsandbytesOnNanAndInfinity) { EXPECT_EQ(Check("bnb_special"), 201'072u); }
TEST_P(Golden, EqualsCompressedTensorsOnCuda) { EXPECT_EQ(Check("compressed_tensors"), 7'148'652u); }
TEST_P(Golden, EqualsTorchaoMx) { EXPECT_EQ(Check("mx"), 254'976u); }
TEST_P(Golden, EqualsTorchFp8Casts) { EXPECT_EQ(Check("fp8_casts"), 264'192u); }
TEST_P(Golden, EqualsGgml) { EXPECT_EQ(Check("ggml"), 661'218u); }

}  // namespace
}  // namespace quantd::testing
