// arithmetic=ggml: blocks of 32 values with their scale inside.
#include <algorithm>
#include <cmath>
#include <span>

#include "tests/support/reference_arithmetic.h"
#include "tests/support/reference_elements.h"
#include "tests/support/reference_tensor.h"
#include "tests/support/reference_values.h"

namespace quantd::testing {
namespace {

constexpr size_t kBlock = 32;

bool HasMinimum(const ReferenceOptions& options) { return !options.symmetric; }
bool HasHighBits(const ReferenceOptions& options) { return BitsOf(options.element) == 5; }
bool HasBytes(const ReferenceOptions& options) { return BitsOf(options.element) == 8; }

int HighestCode(const ReferenceOptions& options) { return (1 << BitsOf(options.element)) - 1; }
int CodeOfZero(const ReferenceOptions& options) { return 1 << (BitsOf(options.element) - 1); }

size_t BlockBytes(const ReferenceOptions& options) {
  if (HasBytes(options)) return 34;
  return 2 + (HasMinimum(options) ? 2 : 0) + (HasHighBits(options) ? 4 : 0) + kBlock / 2;
}

float Inverse(float scale) { return scale == 0 ? 0 : Quotient(1, scale); }

void Append(Bytes& bytes, const Bytes& more) { bytes.insert(bytes.end(), more.begin(), more.end()); }

Bytes Half(float value) { return WriteFloats(DataType::kFloat16, {value}); }

// The library converts what is no number to code 0.
int Truncated(float value, int highest) {
  return std::isfinite(value) ? std::clamp(static_cast<int>(std::trunc(value)), 0, highest) : 0;
}

// Low halves, then high bits: qh has bit j from code j, qs[j] has codes j and j + 16.
Bytes PackHalves(const ReferenceOptions& options, const std::vector<int>& codes) {
  Bytes bytes;
  for (size_t begin = 0; HasHighBits(options) && begin < kBlock; begin += 8) {
    int high_bits = 0;
    for (size_t j = 0; j < 8; ++j) high_bits |= codes[begin + j] / 16 << j;
    bytes.push_back(static_cast<std::byte>(high_bits));
  }
  for (size_t j = 0; j < kBlock / 2; ++j) {
    bytes.push_back(static_cast<std::byte>(codes[j] % 16 + 16 * (codes[j + kBlock / 2] % 16)));
  }
  return bytes;
}

std::vector<int> UnpackHalves(const ReferenceOptions& options, std::span<const std::byte> bytes) {
  const size_t high_bytes = HasHighBits(options) ? kBlock / 8 : 0;
  std::vector<int> codes;
  for (size_t j = 0; j < kBlock; ++j) {
    const int halves = std::to_integer<int>(bytes[high_bytes + j % (kBlock / 2)]);
    const int high_bit = HasHighBits(options) ? std::to_integer<int>(bytes[j / 8]) >> j % 8 & 1 : 0;
    codes.push_back((j < kBlock / 2 ? halves % 16 : halves / 16) + 16 * high_bit);
  }
  return codes;
}

// Q8_0
Bytes EncodeBytes(std::span<const float> values) {
  float amax = 0;
  for (const float value : values) amax = std::max(amax, std::fabs(value));
  const float scale = Quotient(amax, 127);
  const float inverse = Inverse(scale);
  Bytes bytes = Half(scale);
  for (const float value : values) {
    const float y = Product(value, inverse);
    bytes.push_back(static_cast<std::byte>(std::isfinite(y) ? static_cast<int>(std::round(y)) : 0));
  }
  return bytes;
}

// Q4_1, Q5_1
Bytes EncodeFromMinimum(const ReferenceOptions& options, std::span<const float> values) {
  // Of equal ones, as zeros of both signs are, the first.
  const float minimum = std::ranges::min(values);
  const float maximum = std::ranges::max(values);
  const float scale = Quotient(Difference(maximum, minimum), static_cast<float>(HighestCode(options)));
  const float inverse = Inverse(scale);
  std::vector<int> codes;
  for (const float value : values) {
    const float y = Sum(Product(Difference(value, minimum), inverse), 0.5f);
    codes.push_back(Truncated(y, HighestCode(options)));
  }
  Bytes bytes = Half(scale);
  Append(bytes, Half(minimum));
  Append(bytes, PackHalves(options, codes));
  return bytes;
}

// Q4_0, Q5_0: the value of largest magnitude, the first of equals, gets code 0.
Bytes EncodeAroundZero(const ReferenceOptions& options, std::span<const float> values) {
  const float largest = *std::ranges::max_element(values, {}, [](float value) { return std::fabs(value); });
  const auto middle = static_cast<float>(CodeOfZero(options));
  const float scale = Quotient(largest, -middle);
  const float inverse = Inverse(scale);
  std::vector<int> codes;
  for (const float value : values) {
    const float y = Sum(Product(value, inverse), middle + 0.5f);
    codes.push_back(Truncated(y, HighestCode(options)));
  }
  Bytes bytes = Half(scale);
  Append(bytes, PackHalves(options, codes));
  return bytes;
}

Bytes EncodeBlock(const ReferenceOptions& options, std::span<const float> values) {
  if (HasBytes(options)) return EncodeBytes(values);
  return HasMinimum(options) ? EncodeFromMinimum(options, values) : EncodeAroundZero(options, values);
}

std::vector<float> DecodeBlock(const ReferenceOptions& options, std::span<const std::byte> block) {
  const std::vector<float> header = ReadFloats(DataType::kFloat16, Bytes(block.begin(), block.begin() + 4));
  const float scale = header[0];
  std::vector<float> values;
  if (HasBytes(options)) {
    for (const std::byte code : block.subspan(2)) {
      values.push_back(Product(scale, static_cast<float>(std::to_integer<int8_t>(code))));
    }
    return values;
  }
  for (const int code : UnpackHalves(options, block.subspan(HasMinimum(options) ? 4 : 2))) {
    const int steps = HasMinimum(options) ? code : code - CodeOfZero(options);
    const float product = Product(scale, static_cast<float>(steps));
    values.push_back(HasMinimum(options) ? Sum(product, header[1]) : product);
  }
  return values;
}

}  // namespace

Segments QuantizeGgml(const ReferenceTensor& tensor) {
  Bytes blocks;
  for (uint64_t begin = 0; begin < tensor.size(); begin += kBlock) {
    Append(blocks, EncodeBlock(tensor.options, std::span(tensor.values).subspan(begin, kBlock)));
  }
  return {{"blocks", blocks}};
}

std::vector<float> DequantizeGgml(const ReferenceTensor& tensor, const Segments& segments) {
  const Bytes& blocks = segments.at("blocks");
  const size_t block_bytes = BlockBytes(tensor.options);
  std::vector<float> values;
  for (size_t begin = 0; begin < blocks.size(); begin += block_bytes) {
    for (const float value : DecodeBlock(tensor.options, std::span(blocks).subspan(begin, block_bytes))) {
      values.push_back(CanonicalNan(value));
    }
  }
  return values;
}

}  // namespace quantd::testing
