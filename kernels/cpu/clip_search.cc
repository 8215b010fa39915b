#include "kernels/cpu/clip_search.h"

#include <algorithm>

#include "kernels/cpu/segment_pointers.h"
#include "kernels/format/value_types.h"

namespace quantd {
namespace {

// Outside of these a reciprocal or a square could leave float32; such runs keep their range.
constexpr float kSmallestScale = 0x1p-100f;
constexpr float kLargestScale = 0x1p100f;

constexpr std::array<float, ClipSearch::kCandidates> kClips = [] {
  std::array<float, ClipSearch::kCandidates> clips{};
  for (size_t i = 0; i < clips.size(); ++i) clips[i] = static_cast<float>(100 - static_cast<int>(i)) / 100.0f;
  return clips;
}();

float Sum(const float* lanes) {
  std::array<float, kClipLanes> sums;
  std::copy_n(lanes, kClipLanes, sums.begin());
  for (size_t half = kClipLanes / 2; half > 0; half /= 2) {
    for (size_t i = 0; i < half; ++i) sums[i] += sums[i + half];
  }
  return sums[0];
}

}  // namespace

ClipSearch::ClipSearch(const KernelTable& kernels, const Plan& plan, const UnitBatch& batch,
                       const ScaleParameters& scale_parameters)
    : kernels_(kernels),
      plan_(plan),
      scale_parameters_(scale_parameters),
      importance_(InputOf(plan, batch, kImportanceSegment)) {}

void ClipSearch::Narrow(const Strip& strip, RunArrays& runs) {
  for (uint64_t run = 0; run < strip.run_count(); ++run) {
    MakeCandidates(runs, run);
    if (scales_[0] < kSmallestScale || scales_[0] > kLargestScale) continue;
    const uint64_t begin = run * strip.run_elements;
    const uint64_t columns = std::min(strip.run_elements, strip.row_elements - begin);
    Widen(strip, begin, columns);
    const size_t best = FindBest(strip.rows, columns);
    runs.absmax[run] = absmax_[best];
    runs.lowest[run] = lowest_[best];
    runs.highest[run] = highest_[best];
  }
}

void ClipSearch::MakeCandidates(const RunArrays& runs, uint64_t run) {
  const bool asymmetric = plan_.recipe.has_zero_points;
  for (size_t i = 0; i < kCandidates; ++i) {
    absmax_[i] = runs.absmax[run] * kClips[i];
    lowest_[i] = runs.lowest[run] * kClips[i];
    highest_[i] = runs.highest[run] * kClips[i];
  }
  kernels_.scale[static_cast<size_t>(plan_.recipe.method)][FloatTypeIndex(plan_.recipe.scale_rounding)](
      {.run_count = kCandidates,
       .absmax = absmax_.data(),
       .lowest = asymmetric ? lowest_.data() : nullptr,
       .highest = asymmetric ? highest_.data() : nullptr,
       .parameters = &scale_parameters_,
       .stored = stored_.data(),
       .factors = scales_.data(),
       .zeros = asymmetric ? zeros_.data() : nullptr});
  for (size_t i = 0; i < kCandidates; ++i) reciprocals_[i] = 1.0f / scales_[i];
}

// Columns [begin, begin + columns) of each row.
void ClipSearch::Widen(const Strip& strip, uint64_t begin, uint64_t columns) {
  const uint64_t count = strip.rows * columns;
  values_.resize(std::max<size_t>(values_.size(), count));
  if (importance_ != nullptr) weights_.resize(std::max<size_t>(weights_.size(), count));
  float* value = values_.data();
  float* weight = weights_.data();
  for (uint64_t row = 0; row < strip.rows; ++row) {
    const uint64_t first = row * strip.row_elements + begin;
    WithValues(strip.dtype, [&]<class Values>(Values) {
      using Bits = typename Values::Bits;
      for (uint64_t i = 0; i < columns; ++i) {
        *value++ = Values::Widen(LoadUnaligned<Bits>(strip.values + (first + i) * sizeof(Bits)));
      }
    });
    if (importance_ == nullptr) continue;
    uint64_t channel = (strip.first_element + first) % plan_.columns;
    for (uint64_t i = 0; i < columns; ++i) {
      *weight++ = LoadUnaligned<float>(importance_ + channel * sizeof(float));
      if (++channel == plan_.columns) channel = 0;
    }
  }
}

// Of equal errors the wider range.
size_t ClipSearch::FindBest(uint64_t rows, uint64_t row_elements) {
  Best best;
  size_t next = 0;
  while (next < kCandidates) {
    std::array<size_t, kClipsAtOnce> candidates{};
    size_t count = 0;
    for (; next < kCandidates && count < kClipsAtOnce; ++next) {
      if (next < kClipsAtOnce || !CannotBeLess(next, best.error)) candidates[count++] = next;
    }
    if (count == 0) break;
    const auto errors = ErrorsOf(candidates, rows, row_elements);
    for (size_t i = 0; i < count; ++i) {
      if (candidates[i] == 0 || errors[i] < best.error) best = {candidates[i], errors[i]};
    }
  }
  return best.candidate;
}

// In units of the widest scale.
float ClipSearch::RatioSquared(size_t candidate) const {
  const float ratio = scales_[candidate] * reciprocals_[0];
  return ratio * ratio;
}

// The largest value's own error is one of the terms, none of which is negative: where it is too much, no sum is less.
// An importance of 0 might take it out.
bool ClipSearch::CannotBeLess(size_t candidate, float error) const {
  if (importance_ != nullptr) return false;
  const Recipe& recipe = plan_.recipe;
  const float reciprocal = reciprocals_[candidate];
  const bool asymmetric = recipe.has_zero_points;
  const float zero = asymmetric ? zeros_[candidate] : 0.0f;
  // Candidate 0 has the run's own range.
  const float above = (asymmetric ? highest_[0] : absmax_[0]) * reciprocal + zero - recipe.highest;
  const float below = recipe.lowest - ((asymmetric ? lowest_[0] : -absmax_[0]) * reciprocal + zero);
  // One end of a symmetric range has a value, the other may have none.
  const float clipped = asymmetric ? std::max(above, below) : std::min(above, below);
  return clipped > 0 && clipped * clipped * RatioSquared(candidate) >= error;
}

std::array<float, kClipsAtOnce> ClipSearch::ErrorsOf(const std::array<size_t, kClipsAtOnce>& candidates, uint64_t rows,
                                                     uint64_t row_elements) const {
  std::array<float, kClipsAtOnce> reciprocals;
  std::array<float, kClipsAtOnce> zeros;
  for (size_t i = 0; i < kClipsAtOnce; ++i) {
    reciprocals[i] = reciprocals_[candidates[i]];
    zeros[i] = zeros_[candidates[i]];
  }
  std::array<float, kClipsAtOnce * kClipLanes> sums{};
  for (uint64_t row = 0; row < rows; ++row) {
    kernels_.clip_errors({.values = values_.data() + row * row_elements,
                          .weights = importance_ == nullptr ? nullptr : weights_.data() + row * row_elements,
                          .count = row_elements,
                          .reciprocals = reciprocals.data(),
                          .zeros = plan_.recipe.has_zero_points ? zeros.data() : nullptr,
                          .lowest = plan_.recipe.lowest,
                          .highest = plan_.recipe.highest,
                          .sums = sums.data()});
  }
  std::array<float, kClipsAtOnce> errors;
  for (size_t i = 0; i < kClipsAtOnce; ++i) {
    errors[i] = Sum(sums.data() + i * kClipLanes) * RatioSquared(candidates[i]);
  }
  return errors;
}

}  // namespace quantd
