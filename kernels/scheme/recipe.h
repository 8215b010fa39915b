// What a scheme means for arithmetic: the one place that turns names into formulas. Backends look only at this.
#pragma once

#include "kernels/base/data_type.h"
#include "kernels/format/arithmetic.h"
#include "kernels/format/scale_types.h"
#include "kernels/scheme/scheme.h"

namespace quantd {

// How a run's scale is made from its range; kernels/format has a struct for each.
enum class ScaleMethod : uint8_t {
  kNone,
  kBitsandbytesAbsmax,
  kBitsandbytesRow,
  kStrictAbsmax,
  kStrictSymmetric,
  kStrictAsymmetric,
  kCompressedTensorsSymmetric,
  kCompressedTensorsAsymmetric,
  kCompressedTensorsNvfp4,
  kCompressedTensorsMx,
  kMxFloor,
  kMxCeil,
  kMxEven,
  kMxRceil,
  kGgml,  // a block format of its own: codes and scales lie in one array
};
inline constexpr size_t kScaleMethodCount = 15;

struct Recipe {
  Element element{};
  ScaleMethod method{};
  Transform transform{};
  Restore restore{};
  bool has_zero_points = false;
  bool packed_zero_points = false;  // compressed-tensors: codes of the element, packed down the columns
  bool packed_words = false;        // rows of codes are padded to 32 bits, not to 8
  bool has_global_scale = false;
  bool searches_range = false;  // for the clipping of each run with the least squared error
  bool ieee_overflow = false;
  bool unsigned_zero = false;  // compressed-tensors' FP4: a code has its sign from y < 0, which -0 is not
  DataType scale_dtype = DataType::kFloat32;     // as stored; of kNone nothing is
  DataType scale_rounding = DataType::kFloat32;  // float type that the scale's arithmetic rounds to
  float lowest = 0;                              // transformed values are clamped to [lowest, highest]
  float highest = 0;
  uint32_t code_xor = 0;  // turns the element's code into the stored one: offset binary in place of two's complement
  ScaleParameters scale;  // without the global scale, which belongs to a tensor
};

// `scheme` resolved, its scale_dtype not kInput; `values` the type of the tensor.
Recipe RecipeOf(const Scheme& scheme, DataType values);

}  // namespace quantd
