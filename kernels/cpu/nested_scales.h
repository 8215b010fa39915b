// Double quantization: block scales themselves become 8-bit codes with one float32 per nested block.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/format/element.h"
#include "kernels/format/scale_types.h"

namespace quantd {

// One nested block of `count` (1 to 256) float32 scales: one code byte each, and one float32 nested scale.
void EncodeNestedBlock(NestedCode code, const std::byte* scales, uint32_t count, float offset, std::byte* codes,
                       std::byte* nested_scale);

// The reverse.
void DecodeNestedBlock(NestedCode code, const std::byte* codes, uint32_t count, float nested_scale, float offset,
                       std::byte* scales);

}  // namespace quantd
