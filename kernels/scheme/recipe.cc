#include "kernels/scheme/recipe.h"

#include <limits>

#include "kernels/format/format_list.h"

namespace quantd {
namespace {

ScaleMethod MxMethod(ScaleRule rule) {
  switch (rule) {
    case ScaleRule::kFloor:
      return ScaleMethod::kMxFloor;
    case ScaleRule::kCeil:
      return ScaleMethod::kMxCeil;
    case ScaleRule::kEven:
      return ScaleMethod::kMxEven;
    case ScaleRule::kRceil:
      return ScaleMethod::kMxRceil;
  }
  return ScaleMethod::kNone;
}

ScaleMethod CompressedTensorsMethod(const Scheme& scheme) {
  if (scheme.scale_dtype == ScaleDtype::kE8m0) return ScaleMethod::kCompressedTensorsMx;
  if (scheme.scale_dtype == ScaleDtype::kE4m3) return ScaleMethod::kCompressedTensorsNvfp4;
  return scheme.symmetric ? ScaleMethod::kCompressedTensorsSymmetric : ScaleMethod::kCompressedTensorsAsymmetric;
}

ScaleMethod StrictMethod(const Scheme& scheme) {
  if (scheme.scale_dtype == ScaleDtype::kNone) return ScaleMethod::kNone;
  if (InfoOf(scheme.element).kind == ElementKind::kLevels) return ScaleMethod::kStrictAbsmax;
  return scheme.symmetric ? ScaleMethod::kStrictSymmetric : ScaleMethod::kStrictAsymmetric;
}

ScaleMethod MethodOf(const Scheme& scheme) {
  switch (scheme.arithmetic) {
    case Arithmetic::kStrict:
      return StrictMethod(scheme);
    case Arithmetic::kBitsandbytes:
      return InfoOf(scheme.element).kind == ElementKind::kInteger ? ScaleMethod::kBitsandbytesRow
                                                                  : ScaleMethod::kBitsandbytesAbsmax;
    case Arithmetic::kCompressedTensors:
      return CompressedTensorsMethod(scheme);
    case Arithmetic::kTorchao:
      return MxMethod(scheme.scale_rule);
    case Arithmetic::kGgml:
      return ScaleMethod::kGgml;
  }
  return ScaleMethod::kNone;
}

Transform TransformOf(const Recipe& recipe) {
  switch (recipe.method) {
    case ScaleMethod::kBitsandbytesAbsmax:
    case ScaleMethod::kBitsandbytesRow:
      return Transform::kMultiplyFtz;
    case ScaleMethod::kNone:
    case ScaleMethod::kCompressedTensorsMx:
    case ScaleMethod::kMxFloor:
    case ScaleMethod::kMxCeil:
    case ScaleMethod::kMxEven:
    case ScaleMethod::kMxRceil:
      return Transform::kMultiply;
    default:
      return recipe.has_zero_points ? Transform::kDivideAddZero : Transform::kDivide;
  }
}

Restore RestoreOf(ScaleMethod method) {
  if (method == ScaleMethod::kBitsandbytesAbsmax) return Restore::kMultiplyFtz;
  return method == ScaleMethod::kBitsandbytesRow ? Restore::kLlmInt8 : Restore::kMultiply;
}

DataType StoredScaleType(const Scheme& scheme) {
  switch (scheme.scale_dtype) {
    case ScaleDtype::kFloat16:
      return DataType::kFloat16;
    case ScaleDtype::kBFloat16:
      return DataType::kBFloat16;
    case ScaleDtype::kE8m0:
      return DataType::kUint8;
    case ScaleDtype::kE4m3:
      return DataType::kFloat8E4m3;
    default:
      return DataType::kFloat32;
  }
}

uint32_t MantissaBitsOf(DataType values) {
  return values == DataType::kFloat32 ? 23 : values == DataType::kFloat16 ? 10 : 7;
}

// Of an MX element: the exponent of its largest power of two, and its mantissa bits.
void SetMxParameters(Element element, ScaleParameters& scale) {
  scale.largest_exponent = element == Element::kFp8E4m3 ? 8 : element == Element::kFp8E5m2 ? 15 : 2;
  scale.mantissa_bits = element == Element::kFp8E4m3 ? 3 : element == Element::kFp8E5m2 ? 2 : 1;
}

void SetInteger(const Scheme& scheme, Recipe& recipe) {
  const float qmax = InfoOf(recipe.element).largest;
  // bitsandbytes' codes cannot reach -128, and strict symmetric ones leave it out so that negation is exact.
  const bool full_range = recipe.has_zero_points || scheme.arithmetic == Arithmetic::kCompressedTensors;
  recipe.lowest = full_range ? -qmax - 1 : -qmax;
  recipe.highest = qmax;
  recipe.scale.lowest_code = recipe.lowest;
  recipe.scale.highest_code = recipe.highest;
  if (scheme.arithmetic != Arithmetic::kCompressedTensors) return;
  recipe.scale.divisor = recipe.has_zero_points ? qmax * 2 + 1 : qmax + 0.5f;
  // ct-w8a8's rows are plain int8; what is grouped is packed into words.
  recipe.packed_words = scheme.grouping == Grouping::kGroup;
  recipe.packed_zero_points = recipe.has_zero_points;
  if (recipe.packed_words) recipe.code_xor = 1u << (InfoOf(recipe.element).bits - 1);
}

}  // namespace

Recipe RecipeOf(const Scheme& scheme, DataType values) {
  const FormatInfo& format = InfoOf(scheme.element);
  Recipe recipe;
  recipe.element = scheme.element;
  recipe.method = MethodOf(scheme);
  recipe.has_zero_points =
      format.kind == ElementKind::kInteger && !scheme.symmetric && recipe.method != ScaleMethod::kGgml;
  recipe.has_global_scale = recipe.method == ScaleMethod::kCompressedTensorsNvfp4;
  recipe.searches_range = scheme.range == RangeChoice::kMse;
  recipe.ieee_overflow = scheme.overflow == Overflow::kIeee;
  recipe.unsigned_zero = scheme.arithmetic == Arithmetic::kCompressedTensors && scheme.element == Element::kFp4E2m1;
  recipe.scale_dtype = StoredScaleType(scheme);
  const bool rounds_as_values = scheme.scale_dtype == ScaleDtype::kE8m0 || scheme.scale_dtype == ScaleDtype::kE4m3;
  recipe.scale_rounding = rounds_as_values ? values : recipe.scale_dtype;
  recipe.transform = TransformOf(recipe);
  recipe.restore = RestoreOf(recipe.method);
  recipe.lowest = -format.largest;
  recipe.highest = format.largest;
  recipe.scale.divisor = format.largest;
  recipe.scale.value_mantissa_bits = MantissaBitsOf(values);
  SetMxParameters(scheme.element, recipe.scale);
  if (format.kind == ElementKind::kInteger) SetInteger(scheme, recipe);
  return recipe;
}

}  // namespace quantd
