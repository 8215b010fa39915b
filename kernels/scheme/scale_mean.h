// The mean of all block scales, which double quantization subtracts, in an order that no chunking can change.
#pragma once

#include <cstddef>
#include <cstdint>

namespace quantd {

// Sums in float64: every nested block on its own from left to right, the nested blocks' sums from left to right; the
// mean is rounded to float32 once.
class ScaleMean {
 public:
  // The scales of one nested block (all but the last of a tensor are full), in tensor order. Unaligned memory is fine.
  void AddNestedBlock(const std::byte* scales_float32, uint64_t count);
  // 0 for no scales.
  float Mean() const;

 private:
  double sum_ = 0;
  uint64_t count_ = 0;
};

}  // namespace quantd
