// range=mse: which smaller range of a run has the least sum of squared errors?
#pragma once

#include <array>
#include <cstddef>
#include <vector>

#include "kernels/backend/backend.h"
#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/strip.h"

namespace quantd {

// Candidates are GPTQ's (maxshrink 0.8, grid 100), of which llm-compressor's observer `mse` has the first twenty:
// c = 1 - i / 100. The error is that of docs/formats.md, the same on every instruction set.
class ClipSearch {
 public:
  static constexpr size_t kCandidates = 80;

  // All must live as long as it does. `scale_parameters`: those that scales are made with.
  ClipSearch(const KernelTable& kernels, const Plan& plan, const UnitBatch& batch,
             const ScaleParameters& scale_parameters);

  // Narrows the ranges of the strip's runs, whose values are finite, in place.
  void Narrow(const Strip& strip, RunArrays& runs);

 private:
  struct Best {
    size_t candidate = 0;
    float error = 0;
  };

  void MakeCandidates(const RunArrays& runs, uint64_t run);
  void Widen(const Strip& strip, uint64_t begin_column, uint64_t columns);
  size_t FindBest(uint64_t rows, uint64_t row_elements);
  std::array<float, kClipsAtOnce> ErrorsOf(const std::array<size_t, kClipsAtOnce>& candidates, uint64_t rows,
                                           uint64_t row_elements) const;
  float RatioSquared(size_t candidate) const;
  bool CannotBeLess(size_t candidate, float error) const;

  const KernelTable& kernels_;
  const Plan& plan_;
  const ScaleParameters& scale_parameters_;
  const std::byte* const importance_;  // null: every value counts the same

  // Of the run that is being searched, widened, one row of it after another.
  std::vector<float> values_;
  std::vector<float> weights_;
  // One for each candidate.
  std::array<float, kCandidates> absmax_{};
  std::array<float, kCandidates> lowest_{};
  std::array<float, kCandidates> highest_{};
  std::array<float, kCandidates> scales_{};
  std::array<float, kCandidates> reciprocals_{};
  std::array<float, kCandidates> zeros_{};
  std::array<std::byte, kCandidates * sizeof(float)> stored_{};
};

}  // namespace quantd
