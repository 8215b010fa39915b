// Searches on the weights themselves, a row or group at a time: which smaller range has the least error?
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/format/element.h"

namespace quantd {

struct ClipSearchOptions {
  Element target = Element::kInt4;  // an integer or small float
  bool symmetric = true;
  double norm = 2;  // in (0, 7]: |error|^norm is summed; 2 costs least
};

struct ClipResult {
  float ratio = 1;  // of the run's own range; of equal errors the first candidate's
  double error = 0;
  double unclipped_error = 0;  // of ratio 1
};

// 1, 1 - shrink / steps, …, without 1 - shrink itself. llm-compressor's `mse` observer: ClipCandidates(0.2, 20), norm
// 2.4; GPTQ: (0.8, 80), norm 2.4; llm-compressor's `imatrix_mse`: (0.95, 19), norm 3, weighted.
std::vector<float> ClipCandidates(double shrink, uint32_t steps);

// The candidate with the least sum of importance_j · |w_j - Q(w_j)|^norm. `run`: finite values that share a scale;
// `importance`: one for each, or none at all; `candidates`: not empty, in (0, 1]. The strict arithmetic of
// docs/formats.md. INVALID_ARGUMENT with reason INVALID_RANGE_REQUEST else.
absl::StatusOr<ClipResult> FindBestClip(std::span<const float> run, std::span<const float> importance,
                                        std::span<const float> candidates, const ClipSearchOptions& options);

}  // namespace quantd
