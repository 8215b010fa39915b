// Bytes of ggml's blocks of 32 elements.
#pragma once

#include "kernels/format/ggml.h"
#include "kernels/scheme/scheme.h"

namespace quantd {

// `scheme` has ggml arithmetic. symmetric=false: with a minimum.
constexpr uint32_t GgmlBlockBytes(const Scheme& scheme) {
  if (scheme.element == Element::kInt8) return GgmlByteBlock::kBytes;
  if (scheme.element == Element::kInt5) {
    return scheme.symmetric ? GgmlNibbleBlock<5, false>::kBytes : GgmlNibbleBlock<5, true>::kBytes;
  }
  return scheme.symmetric ? GgmlNibbleBlock<4, false>::kBytes : GgmlNibbleBlock<4, true>::kBytes;
}
static_assert(GgmlByteBlock::kBytes == 34 && GgmlNibbleBlock<4, false>::kBytes == 18 &&
              GgmlNibbleBlock<4, true>::kBytes == 20 && GgmlNibbleBlock<5, false>::kBytes == 22 &&
              GgmlNibbleBlock<5, true>::kBytes == 24);

}  // namespace quantd
