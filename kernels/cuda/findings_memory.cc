#include "kernels/cuda/findings_memory.h"

#include <algorithm>
#include <cstring>

#include "kernels/base/status_macros.h"
#include "kernels/cuda/cuda_status.h"

namespace quantd {
namespace {

constexpr uint64_t kBytes = sizeof(FindingsSlots) * kLaunchTensorsMax;

}  // namespace

absl::StatusOr<FindingsTarget> FindingsMemory::Next(cudaStream_t stream) {
  QUANTD_RETURN_IF_ERROR(memory_.Reserve(kBytes));
  if (launch_ == 0 || launch_ == UINT32_MAX) {
    QUANTD_RETURN_IF_ERROR(StatusOf(cudaMemsetAsync(memory_.data(), 0, kBytes, stream), "clearing"));
    launch_ = 0;
  }
  return FindingsTarget{reinterpret_cast<DeviceFindings*>(memory_.data()), ++launch_};
}

absl::StatusOr<FindingsTarget> MappedFindings::Next() {
  if (memory_.data() == nullptr) {
    QUANTD_ASSIGN_OR_RETURN(memory_, PinnedBuffer::Make(kBytes));
  }
  if (launch_ == 0 || launch_ == UINT32_MAX) {
    std::memset(memory_.data(), 0, kBytes);
    launch_ = 0;
  }
  return FindingsTarget{reinterpret_cast<DeviceFindings*>(memory_.data()), ++launch_};
}

FoundRange MappedFindings::Found(size_t tensor) const {
  return FoundBy(launch_, reinterpret_cast<const FindingsSlots*>(memory_.data())[tensor]);
}

FoundRange FoundBy(uint32_t launch, const FindingsSlots& slots) {
  FoundRange range;
  const auto merge = [&](uint32_t& bits, uint64_t found) {
    if (found >> 32 == launch) bits = std::max(bits, static_cast<uint32_t>(found));
  };
  for (const DeviceFindings& slot : slots) {
    merge(range.amax_bits, slot.amax);
    merge(range.lowest_bits, slot.lowest);
    merge(range.highest_bits, slot.highest);
  }
  return range;
}

}  // namespace quantd
