#include "tests/support/reference_nested_scales.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "tests/support/reference_arithmetic.h"
#include "tests/support/reference_elements.h"
#include "tests/support/reference_quantizer.h"
#include "tests/support/reference_values.h"

namespace quantd::testing {
namespace {

constexpr float kE4m3Largest = 448;

// Each nested block summed on its own, then these sums.
float MeanOf(const std::vector<float>& scales, uint64_t nested_block_size) {
  if (scales.empty()) return 0;
  double total = 0;
  for (uint64_t begin = 0; begin < scales.size(); begin += nested_block_size) {
    double sum = 0;
    for (uint64_t i = begin; i < std::min<uint64_t>(begin + nested_block_size, scales.size()); ++i) sum += scales[i];
    total += sum;
  }
  return static_cast<float>(total / static_cast<double>(scales.size()));
}

ReferenceBlocks QuantizeE4m3(uint64_t nested_block_size, std::span<const float> differences) {
  ReferenceBlocks result;
  for (uint64_t begin = 0; begin < differences.size(); begin += nested_block_size) {
    const auto block = differences.subspan(begin, std::min<uint64_t>(nested_block_size, differences.size() - begin));
    float amax = 0;
    for (const float difference : block) amax = std::fmax(amax, std::fabs(difference));
    const float ratio = Quotient(amax, kE4m3Largest);
    const float nested_scale = ratio == 0 ? 1 : ratio;
    result.absmax.push_back(nested_scale);
    for (const float difference : block) {
      const uint32_t code = EncodeElement("fp8_e4m3", Quotient(difference, nested_scale), true);
      result.codes.push_back(static_cast<uint8_t>(code));
    }
  }
  return result;
}

std::vector<float> DequantizeE4m3(uint64_t nested_block_size, const ReferenceBlocks& nested, float offset) {
  std::vector<float> scales;
  for (uint64_t i = 0; i < nested.codes.size(); ++i) {
    const float difference = Product(DecodeElement("fp8_e4m3", nested.codes[i]), nested.absmax[i / nested_block_size]);
    scales.push_back(Sum(difference, offset));
  }
  return scales;
}

}  // namespace

Segments QuantizeScales(const ReferenceTensor& tensor, const std::vector<float>& scales) {
  const uint64_t nested_block_size = tensor.options.nested_block_size;
  const float offset = tensor.known.offset.value_or(MeanOf(scales, nested_block_size));
  std::vector<float> differences;
  for (const float scale : scales) differences.push_back(Difference(scale, offset));
  const ReferenceBlocks nested = tensor.options.nested_code == "e4m3"
                                     ? QuantizeE4m3(nested_block_size, differences)
                                     : ReferenceQuantizeDynamic8(static_cast<uint32_t>(nested_block_size), differences);
  Bytes codes;
  for (const uint8_t code : nested.codes) codes.push_back(std::byte{code});
  return {{"scales", codes},
          {"nested_scales", WriteFloats(DataType::kFloat32, nested.absmax)},
          {"offset", WriteFloats(DataType::kFloat32, {offset})}};
}

std::vector<float> DequantizeScales(const ReferenceOptions& options, const Segments& segments) {
  ReferenceBlocks nested;
  for (const std::byte code : segments.at("scales")) nested.codes.push_back(std::to_integer<uint8_t>(code));
  nested.absmax = ReadFloats(DataType::kFloat32, segments.at("nested_scales"));
  const float offset = ReadFloats(DataType::kFloat32, segments.at("offset")).front();
  return options.nested_code == "e4m3" ? DequantizeE4m3(options.nested_block_size, nested, offset)
                                       : ReferenceDequantizeScales(nested, offset);
}

}  // namespace quantd::testing
