// Every byte of the libraries' own output.
#include <gtest/gtest.h>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/kernel_table.h"
#include "tests/support/golden.h"
#include "tests/support/tensor_runner.h"

namespace quantd::testing {
namespace {

Bytes Copy(const GoldenTensor& tensor) { return Bytes(tensor.bytes.begin(), tensor.bytes.end()); }

DataType DtypeOf(const GoldenCase& golden) { return DataTypeNamed(golden.dtype).value(); }

SchemeRequest RequestOf(const GoldenCase& golden, bool double_quant, const std::string& nonfinite) {
  return {"bnb-" + golden.format.substr(0, 3),
          {{"block_size", std::to_string(golden.block_size)},
           {"double_quant", double_quant ? "true" : "false"},
           {"nonfinite", nonfinite}},
          0};
}

// Two tensors of bytes, and where they differ first.
void ExpectEqual(const Bytes& actual, const GoldenTensor& expected, const std::string& what) {
  ASSERT_EQ(actual.size(), expected.bytes.size()) << what;
  for (size_t i = 0; i < actual.size(); ++i) {
    ASSERT_EQ(actual[i], expected.bytes[i]) << what << ", byte " << i;
  }
}

uint64_t CheckFlat(Backend& backend, const std::string& file_name, const std::string& nonfinite) {
  const GoldenFile file(file_name);
  uint64_t bytes = 0;
  for (const GoldenCase& golden : file.cases()) {
    if (golden.format != "nf4" && golden.format != "fp4") continue;
    const std::string& key = golden.key;
    const GoldenTensor& input = file.Tensor(key + ".input");
    const SchemeRequest request = RequestOf(golden, false, nonfinite);
    const Plan quantize = PlanOrDie(request, Direction::kQuantize, DtypeOf(golden), input.shape);
    const TensorRun quantized = RunTensor(backend, quantize, {{"values", Copy(input)}});
    ExpectEqual(quantized.outputs.at("codes"), file.Tensor(key + ".codes"), key + ".codes");
    ExpectEqual(quantized.outputs.at("scales"), file.Tensor(key + ".absmax"), key + ".absmax");

    const Plan dequantize = PlanOrDie(request, Direction::kDequantize, DtypeOf(golden), input.shape);
    const TensorRun dequantized =
        RunTensor(backend, dequantize,
                  {{"scales", Copy(file.Tensor(key + ".absmax"))}, {"codes", Copy(file.Tensor(key + ".codes"))}});
    ExpectEqual(dequantized.outputs.at("values"), file.Tensor(key + ".dequantized"), key + ".dequantized");
    bytes += quantized.outputs.at("codes").size() + quantized.outputs.at("scales").size() +
             dequantized.outputs.at("values").size();
  }
  return bytes;
}

class Golden : public ::testing::TestWithParam<const KernelTable*> {
 protected:
  std::unique_ptr<Backend> backend_ = MakeCpuBackend(*GetParam());
};

INSTANTIATE_TEST_SUITE_P(Targets, Golden, ::testing::ValuesIn(SupportedKernels().begin(), SupportedKernels().end()),
                         [](const auto& info) { return std::string(info.param->target); });

TEST_P(Golden, EqualsBitsandbytesNf4AndFp4) { EXPECT_EQ(CheckFlat(*backend_, "bnb_4bit", "reject"), 2 * 712442); }

TEST_P(Golden, EqualsBitsandbytesOnNanAndInfinity) { EXPECT_GT(CheckFlat(*backend_, "bnb_special", "library"), 0); }

TEST_P(Golden, EqualsBitsandbytesDoubleQuantWithItsOffset) {
  const GoldenFile file("bnb_double_quant");
  for (const GoldenCase& golden : file.cases()) {
    const std::string& key = golden.key;
    const GoldenTensor& input = file.Tensor(key + ".input");
    const Bytes offset = Copy(file.Tensor(key + ".offset"));
    const SchemeRequest request = RequestOf(golden, true, "reject");
    const Plan quantize = PlanOrDie(request, Direction::kQuantize, DtypeOf(golden), input.shape,
                                    {.offset = ValuesOf<float>(offset).front()});
    const TensorRun quantized = RunTensor(*backend_, quantize, {{"values", Copy(input)}});
    ExpectEqual(quantized.outputs.at("codes"), file.Tensor(key + ".codes"), key + ".codes");
    ExpectEqual(quantized.outputs.at("scales"), file.Tensor(key + ".absmax_codes"), key + ".absmax_codes");
    ExpectEqual(quantized.outputs.at("nested_scales"), file.Tensor(key + ".nested_absmax"), key + ".nested_absmax");

    const Plan flat = PlanOrDie(RequestOf(golden, false, "reject"), Direction::kQuantize, DtypeOf(golden), input.shape);
    const TensorRun single = RunTensor(*backend_, flat, {{"values", Copy(input)}});
    ExpectEqual(single.outputs.at("scales"), file.Tensor(key + ".absmax_f32"), key + ".absmax_f32");

    const Plan dequantize = PlanOrDie(request, Direction::kDequantize, DtypeOf(golden), input.shape);
    const TensorRun dequantized = RunTensor(*backend_, dequantize,
                                            {{"offset", offset},
                                             {"nested_scales", Copy(file.Tensor(key + ".nested_absmax"))},
                                             {"scales", Copy(file.Tensor(key + ".absmax_codes"))},
                                             {"codes", Copy(file.Tensor(key + ".codes"))}});
    ExpectEqual(dequantized.outputs.at("values"), file.Tensor(key + ".dequantized"), key + ".dequantized");
  }
}

}  // namespace
}  // namespace quantd::testing
