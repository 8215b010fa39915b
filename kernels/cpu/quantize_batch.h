// Quantize: one batch of one pass.
#pragma once

#include <atomic>

#include "kernels/backend/backend.h"
#include "kernels/cpu/kernel_table.h"

namespace quantd {

absl::StatusOr<BatchResult> QuantizeBatch(const KernelTable& kernels, const Plan& plan, const UnitBatch& batch,
                                          const std::atomic<bool>& cancelled);

}  // namespace quantd
