// Which values share a scale, and between what bounds they lie.
#pragma once

#include <cstdint>
#include <vector>

#include "tests/support/reference_tensor.h"

namespace quantd::testing {

struct ReferenceRange {
  float amax = 0;
  float low = 0;   // at most 0
  float high = 0;  // at least 0
};

// How many groups the tensor has, and the group of each element.
uint64_t GroupCount(const ReferenceTensor& tensor);
uint64_t GroupOf(const ReferenceTensor& tensor, uint64_t element);

// Of the finite values of each group. If the whole tensor is one group, what the caller knows goes first.
std::vector<ReferenceRange> RangesOf(const ReferenceTensor& tensor);
// Of the finite values of the whole tensor, or what the caller knows.
float TensorAmax(const ReferenceTensor& tensor);

}  // namespace quantd::testing
