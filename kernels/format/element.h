// Names of the element codecs; kernels/format/format_list.h has the codecs in this order.
#pragma once

#include <cstdint>

namespace quantd {

enum class Element : uint8_t { kNf4, kFp4Bnb };
enum class NestedCode : uint8_t { kDynamic8 };

}  // namespace quantd
