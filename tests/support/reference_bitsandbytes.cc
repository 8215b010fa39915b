// arithmetic=bitsandbytes: what its CUDA kernels compute, compiled with fast math.
#include <cmath>

#include "tests/support/reference_arithmetic.h"
#include "tests/support/reference_elements.h"
#include "tests/support/reference_nested_scales.h"
#include "tests/support/reference_quantizer.h"
#include "tests/support/reference_tensor.h"
#include "tests/support/reference_values.h"

namespace quantd::testing {
namespace {

Bytes BytesOf(const std::vector<uint8_t>& codes) {
  Bytes bytes;
  for (const uint8_t code : codes) bytes.push_back(std::byte{code});
  return bytes;
}

std::vector<uint8_t> CodesOf(const Bytes& bytes) {
  std::vector<uint8_t> codes;
  for (const std::byte byte : bytes) codes.push_back(std::to_integer<uint8_t>(byte));
  return codes;
}

std::string FormatOf(const ReferenceOptions& options) { return options.element == "nf4" ? "nf4" : "fp4"; }

// LLM.int8: each row by its own largest magnitude.
Segments QuantizeRows(const ReferenceTensor& tensor) {
  Bytes codes;
  std::vector<float> row_amax;
  for (uint64_t row = 0; row < tensor.rows; ++row) {
    const float* values = tensor.values.data() + row * tensor.columns;
    float amax = 0;
    for (uint64_t i = 0; i < tensor.columns; ++i) {
      // Not std::fmax: it need not pass over signalling NaNs.
      const float magnitude = Flushed(std::fabs(values[i]));
      if (magnitude > amax) amax = magnitude;
    }
    row_amax.push_back(amax);
    const float steps = FlushedProduct(127, ReferenceReciprocal(amax));
    for (uint64_t i = 0; i < tensor.columns; ++i) {
      codes.push_back(static_cast<std::byte>(RoundToInteger(FlushedProduct(values[i], steps), -127, 127)));
    }
  }
  return {{"codes", codes}, {"scales", WriteFloats(DataType::kFloat32, row_amax)}};
}

std::vector<float> DequantizeRows(const ReferenceTensor& tensor, const Segments& segments) {
  constexpr auto kOneStep = static_cast<float>(7.874015718698502e-3);
  const std::vector<float> row_amax = ReadFloats(DataType::kFloat32, segments.at("scales"));
  std::vector<float> values;
  for (uint64_t i = 0; i < tensor.size(); ++i) {
    const auto code = static_cast<float>(std::to_integer<int8_t>(segments.at("codes")[i]));
    values.push_back(CanonicalNan(Product(Product(code, row_amax[i / tensor.columns]), kOneStep)));
  }
  return values;
}

std::vector<float> DequantizeDynamic8(const ReferenceTensor& tensor, const ReferenceBlocks& blocks) {
  std::vector<float> values;
  for (uint64_t i = 0; i < tensor.size(); ++i) {
    const float level = ReferenceDynamic8Table()[blocks.codes[i]];
    values.push_back(CanonicalNan(FlushedProduct(level, blocks.absmax[i / tensor.options.block_size])));
  }
  return values;
}

}  // namespace

Segments QuantizeBitsandbytes(const ReferenceTensor& tensor) {
  const ReferenceOptions& options = tensor.options;
  if (options.element == "int8") return QuantizeRows(tensor);
  const auto block_size = static_cast<uint32_t>(options.block_size);
  const ReferenceBlocks blocks =
      options.element == "dynamic8"
          ? ReferenceQuantizeDynamic8(block_size, tensor.values)
          : ReferenceQuantize4Bit(FormatOf(options), ReferenceRules::kBitsandbytes, block_size, tensor.values);
  Segments segments = {{"scales", WriteFloats(DataType::kFloat32, blocks.absmax)}};
  if (options.double_quant) segments = QuantizeScales(tensor, blocks.absmax);
  segments["codes"] = BytesOf(blocks.codes);
  return segments;
}

std::vector<float> DequantizeBitsandbytes(const ReferenceTensor& tensor, const Segments& segments) {
  const ReferenceOptions& options = tensor.options;
  if (options.element == "int8") return DequantizeRows(tensor, segments);
  const ReferenceBlocks blocks = {CodesOf(segments.at("codes")),
                                  options.double_quant ? DequantizeScales(options, segments)
                                                       : ReadFloats(DataType::kFloat32, segments.at("scales"))};
  if (options.element == "dynamic8") return DequantizeDynamic8(tensor, blocks);
  return ReferenceDequantize4Bit(FormatOf(options), ReferenceRules::kBitsandbytes,
                                 static_cast<uint32_t>(options.block_size), blocks, tensor.size());
}

}  // namespace quantd::testing
