// Fused jobs of several batches, as few launches as can be.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <span>
#include <vector>

#include "kernels/cuda/device_jobs.h"
#include "kernels/cuda/fused_geometry.h"

namespace quantd {

template <class Launch, class Job>
class SharedLaunches {
 public:
  // `code_bits`: of one code.
  void Add(Launch launch, int code_bits, const Job& job) {
    const bool joins = !kinds_.empty() && kinds_.back().launch == launch && kinds_.back().jobs < kLaunchTensorsMax &&
                       CanShareLaunch(jobs_.back(), job, code_bits);
    if (!joins) kinds_.push_back({launch, 0});
    ++kinds_.back().jobs;
    jobs_.push_back(job);
  }

  void Start(cudaStream_t stream) const {
    std::span<const Job> left = jobs_;
    for (const Kind& kind : kinds_) {
      kind.launch(left.first(kind.jobs), stream);
      left = left.subspan(kind.jobs);
    }
  }

 private:
  struct Kind {
    Launch launch;
    size_t jobs;  // neighbours, which are one launch
  };
  std::vector<Kind> kinds_;
  std::vector<Job> jobs_;
};

using FusedLaunches = SharedLaunches<FusedLaunch, DeviceFusedJob>;
using FusedDecodeLaunches = SharedLaunches<FusedDecodeLaunch, DeviceFusedDecodeJob>;

}  // namespace quantd
