// Range, scales and codes of one strip after another.
#pragma once

#include <optional>

#include "kernels/backend/backend.h"
#include "kernels/cpu/clip_search.h"
#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/strip.h"

namespace quantd {

class StripEncoder {
 public:
  // All must live as long as it does. `runs_max`: of a strip.
  StripEncoder(const KernelTable& kernels, const Plan& plan, const UnitBatch& batch, uint64_t runs_max,
               BatchResult& result);

  // Range only: the first pass over a tensor whose scale needs all values.
  void Examine(const Strip& strip);
  // `scales`: where the stored scales go, one for each run; null where they are the tensor's or there are none.
  // The codes of each row begin at `codes` + row · Plan::row_code_bytes.
  void Encode(const Strip& strip, std::byte* scales, std::byte* codes);
  // Blocks of their own: ggml.
  void EncodeBlocks(const Strip& strip, std::byte* blocks);

  // Of the last strip encoded, one for each run; of schemes with zero points.
  const float* zeros() const { return runs_.zeros.data(); }

  // If asked for: adds the errors of the strip, whose stored scales decode to `scales` and whose zero points are
  // zeros().
  void AddErrorsOf(const Strip& strip, const float* scales, const std::byte* codes);

 private:
  bool FindRange(const Strip& strip);  // true: every value is finite
  void MergeRows(const Strip& strip);
  void MakeScales(const Strip& strip, std::byte* scales);
  void EncodeRows(const KernelTable& kernels, const Strip& strip, std::byte* codes) const;
  void EncodeNonfinite(const Strip& strip, std::byte* scales, std::byte* codes);

  const KernelTable& kernels_;
  const Plan& plan_;
  const Recipe& recipe_;
  const UnitBatch& batch_;
  BatchResult& result_;
  ScaleParameters scale_parameters_;
  RunArrays runs_;
  std::optional<ClipSearch> clip_search_;  // of schemes that search the range
  std::vector<float> decoded_;             // of a strip, for error metrics
};

}  // namespace quantd
