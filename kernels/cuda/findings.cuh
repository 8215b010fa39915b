// What a launch has found, merged by its threads.
#pragma once

#include "kernels/cuda/device_jobs.h"

namespace quantd {
namespace {

__device__ inline void MergeFinding(const FindingsTarget& findings, uint64_t DeviceFindings::* which, uint32_t slot,
                                    uint32_t bits) {
  static_assert(sizeof(uint64_t) == sizeof(unsigned long long));
  uint64_t& found = findings.slots[slot % kFindingsSlots].*which;
  atomicMax(reinterpret_cast<unsigned long long*>(&found), uint64_t{findings.launch} << 32 | bits);
}

}  // namespace
}  // namespace quantd
