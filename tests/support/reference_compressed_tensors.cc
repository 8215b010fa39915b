// arithmetic=compressed_tensors: its CUDA path. Scales and zero points: every step is rounded to the scales' type T.
#include <algorithm>
#include <cmath>

#include "tests/support/reference_arithmetic.h"
#include "tests/support/reference_elements.h"
#include "tests/support/reference_groups.h"
#include "tests/support/reference_packing.h"
#include "tests/support/reference_tensor.h"
#include "tests/support/reference_values.h"

namespace quantd::testing {
namespace {

constexpr int kWordBits = 32;

// What a code is divided by and shifted by, and how a scale is stored.
struct GroupParameters {
  float divisor = 1;
  int zero_point = 0;
  uint8_t scale_code = 0;  // e8m0 and e4m3
};

bool HasGlobalScale(const ReferenceOptions& options) { return options.scale_dtype == "e4m3"; }
bool HasPowerScales(const ReferenceOptions& options) { return options.scale_dtype == "e8m0"; }
bool IsInWords(const ReferenceOptions& options) { return IsInteger(options.element) && options.grouping == "group"; }
bool HasZeroPoints(const ReferenceOptions& options) { return IsInteger(options.element) && !options.symmetric; }

int Steps(const ReferenceOptions& options) { return (1 << BitsOf(options.element)) - 1; }
int LowestInteger(const ReferenceOptions& options) { return -(1 << (BitsOf(options.element) - 1)); }
int HighestInteger(const ReferenceOptions& options) { return LowestInteger(options) + Steps(options); }

// What amax is scaled to.
float RangeOf(const ReferenceOptions& options) {
  return IsInteger(options.element) ? static_cast<float>(Steps(options)) / 2 : LargestOf(options.element);
}

GroupParameters FloatScale(const ReferenceTensor& tensor, const ReferenceRange& range) {
  const ReferenceOptions& options = tensor.options;
  const DataType type = tensor.ScaleType();
  // Beyond the type the library's scale is infinite and its bytes of no use; here it ends at the largest value.
  const float largest = type == DataType::kFloat16    ? 65504.0f
                        : type == DataType::kBFloat16 ? 0x1.fep127f
                                                      : 0x1.fffffep127f;
  GroupParameters group;
  if (HasZeroPoints(options)) {
    const float spread = std::min(RoundedTo(type, Difference(range.high, range.low)), largest);
    group.divisor = RoundedTo(type, Quotient(spread, static_cast<float>(Steps(options))));
    const float steps_below_zero = RoundedTo(type, Quotient(range.low, group.divisor));
    const float exact = RoundedTo(type, Difference(static_cast<float>(LowestInteger(options)), steps_below_zero));
    group.zero_point = RoundToInteger(exact, LowestInteger(options), HighestInteger(options));
  } else {
    group.divisor = std::min(RoundedTo(type, Quotient(range.amax, RangeOf(options))), largest);
  }
  if (group.divisor == 0) group.divisor = Epsilon(type);
  return group;
}

// MX: amax goes to the nearest power of two, up from 1.75 on. The library's bit arithmetic knows no subnormal numbers:
// what is not rounded up to a normal one is 0. Beyond the type's largest power the library's scale is infinite and its
// byte undefined; here the exponent goes on.
GroupParameters PowerScale(const ReferenceTensor& tensor, float amax) {
  const float smallest = SmallestNormal(tensor.dtype);
  int stored = 0;
  if (amax >= 0.75f * smallest) {
    const int exponent = std::ilogb(std::max(amax, smallest));
    const int rounded = amax >= std::ldexp(1.75, exponent) ? exponent + 1 : exponent;
    stored = std::clamp(127 + rounded - std::ilogb(LargestOf(tensor.options.element)), 0, 255);
  }
  GroupParameters group;
  group.divisor = RoundedTo(tensor.dtype, PowerOfTwo(stored - 127));
  if (group.divisor == 0) group.divisor = 1;
  group.scale_code = static_cast<uint8_t>(127 + std::ilogb(group.divisor));
  return group;
}

float GlobalScale(const ReferenceTensor& tensor) {
  if (tensor.known.global_scale.has_value()) return *tensor.known.global_scale;
  const float amax = std::max(TensorAmax(tensor), SmallestNormal(tensor.dtype));
  const float inverse = RoundedTo(tensor.dtype, Quotient(1, amax));
  const float scale = RoundedTo(tensor.dtype, Product(inverse, 448 * 6));
  return std::isfinite(scale) ? scale : 1;
}

GroupParameters TwoLevelScale(const ReferenceTensor& tensor, float amax, float global_scale) {
  const float local = RoundedTo(tensor.dtype, Quotient(amax, LargestOf(tensor.options.element)));
  GroupParameters group;
  group.scale_code = static_cast<uint8_t>(EncodeElement("fp8_e4m3", Product(global_scale, local), true));
  if (DecodeElement("fp8_e4m3", group.scale_code) == 0) {
    group.scale_code = static_cast<uint8_t>(EncodeElement("fp8_e4m3", 0.125f, true));
  }
  group.divisor = Quotient(DecodeElement("fp8_e4m3", group.scale_code), global_scale);
  return group;
}

uint32_t CodeOf(const ReferenceOptions& options, float value, const GroupParameters& group) {
  const float y = Quotient(value, group.divisor);
  if (IsInteger(options.element)) {
    const float shifted = HasZeroPoints(options) ? Sum(y, static_cast<float>(group.zero_point)) : y;
    const int code = RoundToInteger(shifted, LowestInteger(options), HighestInteger(options));
    return IsInWords(options) ? static_cast<uint32_t>(code - LowestInteger(options))
                              : EncodeInteger(options.element, code);
  }
  if (options.element != "fp4_e2m1") return EncodeElement(options.element, y, true);
  return EncodeElement(options.element, std::fabs(y), true) + (y < 0 ? 8 : 0);
}

Bytes ShapeBytes(const ReferenceTensor& tensor) {
  Bytes bytes;
  for (const uint64_t extent : {tensor.rows, tensor.columns}) {
    for (int shift = 0; shift < 64; shift += 8) bytes.push_back(static_cast<std::byte>(extent >> shift & 0xff));
  }
  return bytes;
}

// Down each column of groups, in words.
Bytes PackZeroPoints(const ReferenceTensor& tensor, const std::vector<GroupParameters>& groups) {
  std::vector<uint32_t> codes;
  for (const GroupParameters& group : groups) {
    codes.push_back(static_cast<uint32_t>(group.zero_point - LowestInteger(tensor.options)));
  }
  const uint64_t group_columns = tensor.columns / tensor.options.group_size;
  const int bits = BitsOf(tensor.options.element);
  const Bytes columns = PackRows(Transposed(codes, tensor.rows, group_columns), tensor.rows, bits, kWordBits);
  return WordsTransposed(columns, group_columns);
}

std::vector<int> UnpackZeroPoints(const ReferenceTensor& tensor, const Bytes& packed) {
  const uint64_t group_columns = tensor.columns / tensor.options.group_size;
  if (group_columns == 0 || packed.empty()) return {};
  const uint64_t word_rows = packed.size() / sizeof(uint32_t) / group_columns;
  const std::vector<uint32_t> codes = UnpackRows(WordsTransposed(packed, word_rows), group_columns, tensor.rows,
                                                 BitsOf(tensor.options.element), kWordBits);
  std::vector<int> zero_points;
  for (const uint32_t code : Transposed(codes, group_columns, tensor.rows)) {
    zero_points.push_back(static_cast<int>(code) + LowestInteger(tensor.options));
  }
  return zero_points;
}

std::vector<GroupParameters> ParametersOf(const ReferenceTensor& tensor, float global_scale) {
  std::vector<GroupParameters> groups;
  for (const ReferenceRange& range : RangesOf(tensor)) {
    if (HasGlobalScale(tensor.options)) {
      groups.push_back(TwoLevelScale(tensor, range.amax, global_scale));
    } else if (HasPowerScales(tensor.options)) {
      groups.push_back(PowerScale(tensor, range.amax));
    } else {
      groups.push_back(FloatScale(tensor, range));
    }
  }
  return groups;
}

std::vector<float> ReadScales(const ReferenceTensor& tensor, const Segments& segments) {
  const Bytes& stored = segments.at("scales");
  if (!HasGlobalScale(tensor.options) && !HasPowerScales(tensor.options)) return ReadFloats(tensor.ScaleType(), stored);
  std::vector<float> scales;
  for (const std::byte byte : stored) {
    const int code = std::to_integer<int>(byte);
    if (HasGlobalScale(tensor.options)) {
      const float global_scale = ReadFloats(DataType::kFloat32, segments.at("global_scale")).front();
      scales.push_back(Quotient(DecodeElement("fp8_e4m3", static_cast<uint32_t>(code)), global_scale));
    } else {
      scales.push_back(code == 255 ? std::nanf("") : PowerOfTwo(code - 127));
    }
  }
  return scales;
}

}  // namespace

Segments QuantizeCompressedTensors(const ReferenceTensor& tensor) {
  const ReferenceOptions& options = tensor.options;
  const float global_scale = HasGlobalScale(options) ? GlobalScale(tensor) : 1;
  const std::vector<GroupParameters> groups = ParametersOf(tensor, global_scale);
  std::vector<uint32_t> codes;
  for (uint64_t i = 0; i < tensor.size(); ++i) {
    codes.push_back(CodeOf(options, tensor.values[i], groups[GroupOf(tensor, i)]));
  }

  Segments segments;
  std::vector<float> float_scales;
  Bytes scale_codes;
  for (const GroupParameters& group : groups) {
    float_scales.push_back(group.divisor);
    scale_codes.push_back(std::byte{group.scale_code});
  }
  const bool has_scale_codes = HasGlobalScale(options) || HasPowerScales(options);
  segments["scales"] = has_scale_codes ? scale_codes : WriteFloats(tensor.ScaleType(), float_scales);
  if (HasGlobalScale(options)) segments["global_scale"] = WriteFloats(DataType::kFloat32, {global_scale});
  if (HasZeroPoints(options)) segments["zero_points"] = PackZeroPoints(tensor, groups);
  if (IsInWords(options)) {
    segments["codes"] = PackRows(codes, tensor.columns, BitsOf(options.element), kWordBits);
    segments["weight_shape"] = ShapeBytes(tensor);
  } else {
    segments["codes"] = PackCodes(tensor, codes);
  }
  return segments;
}

std::vector<float> DequantizeCompressedTensors(const ReferenceTensor& tensor, const Segments& segments) {
  const ReferenceOptions& options = tensor.options;
  const Bytes& stored = segments.at("codes");
  const std::vector<uint32_t> codes =
      IsInWords(options) ? UnpackRows(stored, tensor.rows, tensor.columns, BitsOf(options.element), kWordBits)
                         : UnpackCodes(tensor, stored);
  const std::vector<float> scales = ReadScales(tensor, segments);
  const std::vector<int> zero_points =
      HasZeroPoints(options) ? UnpackZeroPoints(tensor, segments.at("zero_points")) : std::vector<int>(scales.size());
  std::vector<float> values;
  for (uint64_t i = 0; i < tensor.size(); ++i) {
    const uint64_t group = GroupOf(tensor, i);
    float level = 0;
    if (IsInWords(options)) {
      level = static_cast<float>(static_cast<int>(codes[i]) + LowestInteger(options) - zero_points[group]);
    } else if (IsInteger(options.element)) {
      level = static_cast<float>(DecodeInteger(options.element, codes[i]) - zero_points[group]);
    } else {
      level = DecodeElement(options.element, codes[i]);
    }
    values.push_back(CanonicalNan(Product(level, scales[group])));
  }
  return values;
}

}  // namespace quantd::testing
