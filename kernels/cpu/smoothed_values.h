// SmoothQuant's factors on the weight's side: W · diag(s), made where it is quantized.
#pragma once

#include <cstddef>
#include <vector>

#include "kernels/backend/backend.h"
#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/strip.h"

namespace quantd {

class SmoothedValues {
 public:
  // All must live as long as it does.
  SmoothedValues(const KernelTable& kernels, const Plan& plan, const UnitBatch& batch);

  // The strip with the products in place of its values, valid until the next call; the strip itself where the pass has
  // no factors.
  Strip Of(const Strip& strip);

 private:
  const KernelTable& kernels_;
  const uint64_t columns_;
  const std::byte* const factors_;  // null: none
  std::vector<std::byte> products_;
};

}  // namespace quantd
