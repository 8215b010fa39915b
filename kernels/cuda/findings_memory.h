// Where launches on one stream leave what they have found.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "kernels/cuda/device_jobs.h"
#include "kernels/cuda/device_memory.h"

namespace quantd {

// The magnitudes that a launch has found; 0 where it has found none.
struct FoundRange {
  uint32_t amax_bits = 0;
  uint32_t lowest_bits = 0;
  uint32_t highest_bits = 0;
};

using FindingsSlots = std::array<DeviceFindings, kFindingsSlots>;

// Of one of the tensors of a launch, whose first has `first`.
inline FindingsTarget FindingsOf(const FindingsTarget& first, size_t tensor) {
  return {first.slots + tensor * kFindingsSlots, first.launch};
}

class FindingsMemory {
 public:
  explicit FindingsMemory(std::shared_ptr<DeviceMemoryBudget> budget = nullptr) : memory_(std::move(budget)) {}

  // Of the first of kLaunchTensorsMax tensors of the next launch on `stream`, always the same one. RESOURCE_EXHAUSTED
  // without memory.
  absl::StatusOr<FindingsTarget> Next(cudaStream_t stream);

 private:
  DeviceBuffer memory_;
  uint32_t launch_ = 0;
};

// The same in memory of the host, which small launches reach without a copy.
class MappedFindings {
 public:
  // As FindingsMemory::Next, after the launch before has ended.
  absl::StatusOr<FindingsTarget> Next();
  // Of a tensor of the last one, which has ended.
  FoundRange Found(size_t tensor) const;

 private:
  PinnedBuffer memory_;
  uint32_t launch_ = 0;
};

// Of launch number `launch`, from a copy of its slots.
FoundRange FoundBy(uint32_t launch, const FindingsSlots& slots);

}  // namespace quantd
