#include "kernels/scheme/scale_mean.h"

#include <cstring>

namespace quantd {

void ScaleMean::AddNestedBlock(const std::byte* scales_float32, uint64_t count) {
  double block_sum = 0;
  for (uint64_t i = 0; i < count; ++i) {
    float scale;
    std::memcpy(&scale, scales_float32 + i * sizeof(scale), sizeof(scale));
    block_sum += scale;
  }
  sum_ += block_sum;
  count_ += count;
}

float ScaleMean::Mean() const { return count_ == 0 ? 0.0f : static_cast<float>(sum_ / static_cast<double>(count_)); }

}  // namespace quantd
