// What computes: one interface for every CPU target and for GPUs, all with the same bytes.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "absl/status/statusor.h"
#include "kernels/backend/error_sums.h"
#include "kernels/scheme/plan.h"

namespace quantd {

inline constexpr size_t kSegmentsMax = 8;

// A run of whole units of one pass. Plain data: the memory belongs to the caller, which keeps it valid and untouched
// until Run returns.
struct UnitBatch {
  uint32_t pass = 0;
  uint64_t begin_unit = 0;
  uint64_t end_unit = 0;
  // In the order of Pass::inputs and Pass::outputs. A per-unit segment's pointer is to the first byte that begin_unit
  // owns, and Plan::BytesOf bytes are there; a whole-tensor input's is to its SegmentLayout::bytes bytes. Whole-tensor
  // outputs are the caller's to make: null. No alignment is required.
  std::array<const std::byte*, kSegmentsMax> inputs{};
  std::array<std::byte*, kSegmentsMax> outputs{};
  // Quantize, where they are known (all passes but the first of two): ParametersOf the plan. Unused by Dequantize,
  // which finds them in its inputs.
  TensorParameters parameters;
  // Quantize: also decode what was encoded, and sum up the errors.
  bool error_metrics = false;
};

// What a batch found in its input values (Quantize, first pass); zeros otherwise.
struct BatchResult {
  uint64_t nonfinite_count = 0;
  uint64_t first_nonfinite_element = UINT64_MAX;  // counted from the tensor's first element
  ValueRange range;
  ErrorSums errors;  // if asked for

  void Merge(const BatchResult& other);
};

// One of the batches of RunTogether, and what came of it. What it refers to is the caller's, and outlives the call.
struct BatchRun {
  const Plan& plan;
  const UnitBatch& batch;
  const std::atomic<bool>& cancelled;
  absl::StatusOr<BatchResult> result = BatchResult();
};

class Backend {
 public:
  virtual ~Backend() = default;

  // Name for people and for Summary.device: "cpu".
  virtual std::string_view name() const = 0;
  // Which of its kinds of code computes, for people: an instruction set such as "avx512".
  virtual std::string_view target() const = 0;

  // Computes the batch on the calling thread and writes exactly the bytes that its units own of every per-unit output,
  // nothing beside them. With NonfinitePolicy::kReject and non-finite input the outputs are unspecified and the result
  // says where it is; judging that is the caller's. `cancelled` is looked at between runs of at most kCancelElements
  // elements, or one unit where that is larger; once it is set the outputs are unspecified. CANCELLED after a cancel;
  // INTERNAL with reason BACKEND_FAILED if the device failed. Safe from any number of threads.
  virtual absl::StatusOr<BatchResult> Run(const Plan& plan, const UnitBatch& batch,
                                          const std::atomic<bool>& cancelled) = 0;

  // Run of each, of any plans and tensors, as one piece of work where that is faster: then an error other than
  // CANCELLED is that of all it happened to.
  virtual void RunTogether(std::span<BatchRun> runs);
};

inline constexpr uint64_t kCancelElements = 16384;

}  // namespace quantd
