// Double quantization: the scales of blocks, themselves quantized.
#pragma once

#include <vector>

#include "tests/support/reference_tensor.h"

namespace quantd::testing {

// Segments scales, nested_scales and offset.
Segments QuantizeScales(const ReferenceTensor& tensor, const std::vector<float>& scales);
std::vector<float> DequantizeScales(const ReferenceOptions& options, const Segments& segments);

}  // namespace quantd::testing
