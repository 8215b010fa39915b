// ggml's block formats as loops over a tensor.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/strip.h"
#include "kernels/scheme/scheme.h"

namespace quantd {

// Whole blocks; the strip's values are finite. `blocks` gets GgmlBlockBytes(scheme) bytes for each.
void EncodeGgmlBlocks(const Scheme& scheme, const Strip& strip, std::byte* blocks);

// `element_count` values of type `dtype`.
void DecodeGgmlBlocks(const Scheme& scheme, const std::byte* blocks, uint64_t element_count, DataType dtype,
                      std::byte* values);

}  // namespace quantd
