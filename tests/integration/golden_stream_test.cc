// The golden vectors of bitsandbytes through the service, in frames of every size.
#include <gtest/gtest.h>

#include <bit>
#include <string>
#include <vector>

#include "kernels/base/data_type.h"
#include "tests/support/bulk_stream.h"
#include "tests/support/golden.h"
#include "tests/support/test_service.h"

namespace quantd::testing {
namespace {

std::string StringOf(const GoldenTensor& tensor) {
  return {reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size()};
}

v1::DataType DtypeOf(const std::string& name) { return static_cast<v1::DataType>(*DataTypeNamed(name)); }

v1::TensorHeader HeaderOf(const GoldenFile& file, const GoldenCase& golden, bool double_quant) {
  return testing::HeaderOf(
      "bnb-" + golden.format, DtypeOf(golden.dtype), file.Tensor(golden.key + ".input").shape,
      {{"block_size", std::to_string(golden.block_size)}, {"double_quant", double_quant ? "true" : "false"}});
}

class GoldenStream : public ::testing::TestWithParam<uint64_t> {
 protected:
  // One byte a frame makes a frame of each byte: only the smaller tensors go that way.
  bool IsTooLong(const GoldenTensor& input) const { return input.bytes.size() > 20000 * GetParam(); }

  TestService service_;
};

TEST_P(GoldenStream, Bnb4BitIsEqual) {
  const GoldenFile file("bnb_4bit");
  QuantizeStream quantize(service_.InProcessChannel());
  DequantizeStream dequantize(service_.InProcessChannel());
  size_t compared = 0;
  for (const GoldenCase& golden : file.cases()) {
    SCOPED_TRACE(golden.key);
    if (IsTooLong(file.Tensor(golden.key + ".input"))) continue;
    const v1::TensorHeader header = HeaderOf(file, golden, false);
    const std::string codes = StringOf(file.Tensor(golden.key + ".codes"));
    const std::string scales = StringOf(file.Tensor(golden.key + ".absmax"));

    const TensorOutcome quantized =
        quantize.Exchange(header, {{"values", 0, StringOf(file.Tensor(golden.key + ".input"))}}, FramesOf(GetParam()));
    ASSERT_FALSE(quantized.error.has_value()) << quantized.error->message();
    EXPECT_EQ(quantized.segments.at("codes"), codes);
    EXPECT_EQ(quantized.segments.at("scales"), scales);

    const TensorOutcome dequantized =
        dequantize.Exchange(header, {{"scales", 0, scales}, {"codes", 0, codes}}, FramesOf(GetParam()));
    ASSERT_FALSE(dequantized.error.has_value()) << dequantized.error->message();
    EXPECT_EQ(dequantized.segments.at("values"), StringOf(file.Tensor(golden.key + ".dequantized")));
    ++compared;
  }
  EXPECT_GT(compared, 60u);
}

TEST_P(GoldenStream, BnbDoubleQuantIsEqualWithTheLibrarysOffset) {
  const GoldenFile file("bnb_double_quant");
  QuantizeStream quantize(service_.InProcessChannel());
  DequantizeStream dequantize(service_.InProcessChannel());
  size_t compared = 0;
  for (const GoldenCase& golden : file.cases()) {
    SCOPED_TRACE(golden.key);
    if (IsTooLong(file.Tensor(golden.key + ".input"))) continue;
    v1::TensorHeader header = HeaderOf(file, golden, true);
    const std::string offset = StringOf(file.Tensor(golden.key + ".offset"));
    const std::string codes = StringOf(file.Tensor(golden.key + ".codes"));
    const std::string scales = StringOf(file.Tensor(golden.key + ".absmax_codes"));
    const std::string nested_scales = StringOf(file.Tensor(golden.key + ".nested_absmax"));

    float known_offset = 0;
    ASSERT_EQ(offset.size(), sizeof(known_offset));
    offset.copy(reinterpret_cast<char*>(&known_offset), sizeof(known_offset));
    v1::TensorHeader with_offset = header;
    with_offset.mutable_statistics()->set_offset(known_offset);
    const TensorOutcome quantized = quantize.Exchange(
        with_offset, {{"values", 0, StringOf(file.Tensor(golden.key + ".input"))}}, FramesOf(GetParam()));
    ASSERT_FALSE(quantized.error.has_value()) << quantized.error->message();
    EXPECT_EQ(quantized.segments.at("codes"), codes);
    EXPECT_EQ(quantized.segments.at("scales"), scales);
    EXPECT_EQ(quantized.segments.at("nested_scales"), nested_scales);
    EXPECT_EQ(quantized.segments.at("offset"), offset);

    const TensorOutcome dequantized = dequantize.Exchange(
        header,
        {{"offset", 0, offset}, {"nested_scales", 0, nested_scales}, {"scales", 0, scales}, {"codes", 0, codes}},
        FramesOf(GetParam()));
    ASSERT_FALSE(dequantized.error.has_value()) << dequantized.error->message();
    EXPECT_EQ(dequantized.segments.at("values"), StringOf(file.Tensor(golden.key + ".dequantized")));
    ++compared;
  }
  EXPECT_GT(compared, GetParam() == 1 ? 5u : 20u);
}

INSTANTIATE_TEST_SUITE_P(FrameBytes, GoldenStream, ::testing::Values(1, 63, 4096, 1 << 20, (4 << 20) - (64 << 10)));

}  // namespace
}  // namespace quantd::testing
