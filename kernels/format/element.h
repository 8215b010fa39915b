// Names of the element codecs; kernels/format/format_list.h has the codecs in this order.
#pragma once

#include <cstdint>

namespace quantd {

enum class Element : uint8_t {
  kNf4,
  kFp4Bnb,
  kFp4E2m1,
  kFp4E3m0,
  kInt2,
  kInt3,
  kInt4,
  kInt5,
  kInt6,
  kInt7,
  kInt8,
  kFp8E4m3,
  kFp8E5m2,
  kDynamic8,
  kBFloat16,
  kFloat16
};

// What an element's levels are, and so how a scale is found for them.
enum class ElementKind : uint8_t {
  kLevels,     // a table of levels in [-1, 1]; the scale is the absmax itself
  kMiniFloat,  // sign, exponent and mantissa of few bits; the scale is absmax / largest
  kInteger,    // two's complement; the scale is absmax / largest
  kCast        // a float type that needs no scale
};

// Codecs of quantized block scales.
enum class NestedCode : uint8_t { kDynamic8, kFp8E4m3 };

}  // namespace quantd
