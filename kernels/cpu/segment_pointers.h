// Where a batch's bytes of each segment are.
#pragma once

#include <cstddef>
#include <string_view>

#include "kernels/backend/backend.h"

namespace quantd {

// Null: the pass has no such input.
inline const std::byte* InputOf(const Plan& plan, const UnitBatch& batch, std::string_view name) {
  const auto& segments = plan.passes[batch.pass].inputs;
  for (size_t i = 0; i < segments.size(); ++i) {
    if (segments[i].name == name) return batch.inputs[i];
  }
  return nullptr;
}

// Null: the pass has no such output, or it belongs to the whole tensor.
inline std::byte* OutputOf(const Plan& plan, const UnitBatch& batch, std::string_view name) {
  const auto& segments = plan.passes[batch.pass].outputs;
  for (size_t i = 0; i < segments.size(); ++i) {
    if (segments[i].name == name) return batch.outputs[i];
  }
  return nullptr;
}

// A cut between looks at the cancel flag: whole runs that fit in the first-level cache together, or one run.
inline uint64_t StripElements(uint64_t run_elements) {
  constexpr uint64_t kStripElements = 4096;
  static_assert(kStripElements <= kCancelElements);
  return run_elements >= kStripElements ? run_elements : kStripElements / run_elements * run_elements;
}

}  // namespace quantd
